"""Routers of three makes, each in a network namespace that a test makes and takes away again."""
