"""Steady traffic with a ledger: the process in a client node, and the handle on it."""
