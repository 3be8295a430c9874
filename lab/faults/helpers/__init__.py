"""Programs that a fault starts in a node."""
