"""The decisions of an edge node: health, intent and configuration in, tables and stances out. No I/O, no clock."""
