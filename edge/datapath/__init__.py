"""The packet path: XDP programs in restricted C, the values they are told, and the same verdicts in Python."""
