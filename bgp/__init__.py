"""Speaks BGP through ExaBGP: routes, the wanted set against the sent one, and the lease on every VIP."""
