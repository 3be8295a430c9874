"""Which topology is meant, and what runs it: namespaces or containerlab."""
