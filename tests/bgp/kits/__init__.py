"""The router kits: their text, their parsers, and routers under attack."""
