"""A wall clock that can be moved, for one program of a node: node-start preloads `clock.c` where it is told to."""
