"""Bidirectional Forwarding Detection (RFC 5880, 5881, 5883): routers learn in milliseconds that a node is dead."""
