"""Containerlab topology files: read strictly into frozen values, and drawn."""
