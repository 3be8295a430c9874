"""A lab without Docker: each node is a set of Linux namespaces with its own view of the host's root file system."""
