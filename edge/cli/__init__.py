"""The commands of `fairhop` on an edge node or a backend."""
