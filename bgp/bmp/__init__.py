"""Reads back what routers accepted: a station for BMP (RFC 7854), which runs as a process without any privilege."""
