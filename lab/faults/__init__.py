"""Faults on purpose: link, node, process, router, checker and traffic faults, each of which can be undone."""
