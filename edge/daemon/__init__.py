"""The daemon of an edge node: its parts, what turns them, and what watches its own data path."""
