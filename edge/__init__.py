"""One edge node: configuration, health, hashing, the data path and what is announced."""
