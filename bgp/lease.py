"""A lease per VIP prefix: the daemon's word about a prefix holds until a moment, and silence ends it.

Moments are CLOCK_MONOTONIC, which all processes of a machine share, so a declaration that lay in a socket
buffer while its reader was stopped gives no more time than it was meant to.
"""

from typing import Final

from bgp.route import Prefix

LEASE_MAX: Final = 60.0
"""Seconds; a longer lease is cut to this, so that a nonsensical date cannot hold a route for ever."""


class LeaseTable:
    """Who may still be announced. A renewal replaces the end, it never adds to it."""

    def __init__(self) -> None:
        self._until: dict[Prefix, float] = {}

    def renew(self, prefix: Prefix, until: float, now: float) -> None:
        """Hold the prefix until `until`; a moment that is past (or not a number) ends the lease."""
        if until > now:
            self._until[prefix] = min(until, now + LEASE_MAX)
        else:
            self._until.pop(prefix, None)

    def end(self, prefix: Prefix) -> None:
        """Give the lease up now."""
        self._until.pop(prefix, None)

    def expire(self, now: float) -> frozenset[Prefix]:
        """Drop and return the prefixes whose lease is over."""
        over = frozenset(prefix for prefix, until in self._until.items() if until <= now)
        for prefix in over:
            del self._until[prefix]
        return over

    def held(self) -> frozenset[Prefix]:
        """The prefixes under a lease, as of the last `expire`."""
        return frozenset(self._until)

    def next_deadline(self) -> float | None:
        """When the next lease ends, None without leases."""
        return min(self._until.values(), default=None)
