"""Keeps the kernel at what is wanted: tables and block lists, written in threads, one change after the other."""
