"""From the lab's plan to every node's files."""
