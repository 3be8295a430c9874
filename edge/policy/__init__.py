"""The rules by which an edge node decides, each by itself: values in, values out. No I/O, no clock, no file."""
