"""Scenarios: what is done to a lab under traffic, what must hold, and the verdict on what was measured."""
