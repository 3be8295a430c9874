"""The bench: what a packet, a table and a generation cost on this machine, measured in one run."""
