"""Which edge carried which flow, counted by a BPF socket filter on the routers' side of the links to the edges."""
