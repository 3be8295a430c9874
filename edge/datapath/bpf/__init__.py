"""The BPF programs and what compiles them."""
