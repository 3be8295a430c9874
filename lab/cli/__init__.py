"""The commands of `fairhop lab`."""
