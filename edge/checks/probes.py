"""Which function makes a probe of which kind, and what its errors mean in words."""

import errno
import os
import ssl
from collections.abc import Callable

import h11

from edge.checks import datagrams, http, programs, tcp
from edge.checks.asking import Ask, Probe


def _tunnel(ask: Ask) -> Probe:
    from edge.checks import tunnel  # noqa: PLC0415 - the data path's oracle, which only tunnel checks need

    return tunnel.probe(ask)


_PROBES: dict[str, Callable[[Ask], Probe]] = {
    "tcp": tcp.probe,
    "http": http.probe,
    "https": http.probe,
    "udp": datagrams.udp_probe,
    "dns": datagrams.dns_probe,
    "exec": programs.run,
    "process": programs.process,
    "tunnel": _tunnel,
}
KINDS = frozenset(_PROBES)
# The checker's own want, which says nothing of what it asks: the check stays without a result, and becomes stale.
_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN}
ERRORS = (OSError, h11.RemoteProtocolError, http.TrustError, UnicodeError)
"""What a probe may raise for what it met."""


def probe(ask: Ask) -> Probe:
    """The probe of a target. Raises KeyError for a kind that there is not."""
    return _PROBES[ask.target.kind](ask)


def explain(error: Exception) -> str | None:
    """A probe's error as the detail of a failure; None when it is our own want and no failure of the target."""
    if isinstance(error, h11.RemoteProtocolError):
        return f"not HTTP: {error}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message.removesuffix('.')}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if not isinstance(error, OSError):
        return str(error)
    if error.errno in _OURS:
        return None
    # The kernel's words for a failed connection.
    where = f"{error.filename}: " if error.filename else ""
    return where + (os.strerror(error.errno).lower() if error.errno else str(error) or type(error).__name__)
