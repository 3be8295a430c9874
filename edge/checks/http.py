"""http and https: one request, and what of the answer is looked at. HTTP is h11's; TLS is Python's.

A new connection for each probe: a kept one would miss a listener that is gone.
"""

import re
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h11

from edge.checks.asking import Ask, Channel, Probe, Steps, Verdict, connected

_HEADERS = 1 << 16  # bytes; an answer whose headers are longer is malformed
BODY_MAX = 1 << 16  # bytes of a body that are searched
_DAY = 86400.0
_contexts: dict[tuple[Any, ...], ssl.SSLContext] = {}


class TrustError(Exception):
    """A file that TLS needs cannot be used; the text says which, by whom, and why."""


def probe(ask: Ask) -> Probe:
    """One request and its answer."""
    options, address = ask.target.options, ask.target.address
    tls = options.get("tls")
    context = _context(tls) if tls else None
    channel = Channel((yield from connected(address, options["port"], ask.only)))
    try:
        if tls and context:
            wrapped = yield from channel.secure(context, tls["server_name"])
            refused = _expiry(wrapped, tls["min_days"])
            if refused:
                return Verdict(False, refused)
        return (yield from _exchange(channel, options, address))
    finally:
        channel.close()


def _exchange(channel: Channel, options: Mapping[str, Any], address: str) -> Steps[Verdict]:
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEADERS)
    headers = [
        ("Host", options["host"] or _authority(address, options["port"])),
        ("User-Agent", "fairhop"),
        *map(tuple, options["headers"]),
        ("Connection", "close"),
    ]
    if options["method"] == "POST":
        headers.append(("Content-Length", "0"))
    request = http.send(h11.Request(method=options["method"], target=options["path"], headers=headers))
    yield from channel.send((request or b"") + (http.send(h11.EndOfMessage()) or b""))
    while not isinstance(event := http.next_event(), h11.Response):
        if event is h11.NEED_DATA:
            http.receive_data((yield from channel.receive()))
    status = f"HTTP {event.status_code}"
    if not any(low <= event.status_code <= high for low, high in options["status"]):
        return Verdict(False, f"{status}, expected {_words(options['status'])}")
    if options["body"] is None and options["body_regex"] is None:
        return Verdict(True, status)
    return (yield from _search(channel, http, options, status))


def _search(channel: Channel, http: h11.Connection, options: Mapping[str, Any], status: str) -> Steps[Verdict]:
    """Read until the body has what is wanted, ends, or is longer than is searched."""
    substring = options["body"].encode() if options["body"] is not None else b""
    pattern = re.compile(options["body_regex"].encode()) if options["body_regex"] is not None else re.compile(b"")
    body = b""
    while len(body) < BODY_MAX:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data((yield from channel.receive()))
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
            # Expressions are tried once, on the whole: trying at each piece would cost the square of the length.
            if options["body_regex"] is None and substring in body:
                return Verdict(True, f"{status}, body as expected")
        else:
            break
    body = body[:BODY_MAX]
    if substring not in body:
        return Verdict(False, f"{status}, but the first {len(body)} bytes of the body lack {options['body']!r}")
    if not pattern.search(body):
        return Verdict(False, f"{status}, but the first {len(body)} bytes do not match {options['body_regex']!r}")
    return Verdict(True, f"{status}, body as expected")


def _context(tls: Mapping[str, Any]) -> ssl.SSLContext:
    """What is trusted, read again when a file changes. Raises TrustError."""
    files = [tls[name] for name in ("ca_file", "client_cert", "client_key") if tls[name]]
    try:
        stamps = tuple(Path(name).stat().st_mtime_ns for name in files)
        key = (tls["verify"], *files, *stamps)
        if key not in _contexts:
            if len(_contexts) >= 256:
                _contexts.clear()
            _contexts[key] = _new_context(tls)
        return _contexts[key]
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "checks run as an unprivileged user, which must be able to read it"
        raise TrustError(f"cannot use {' or '.join(files)}: {reason}; {hint}") from None


def _new_context(tls: Mapping[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls["ca_file"])
    if not tls["verify"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls["client_cert"]:
        # A key with a passphrase would ask on a terminal that nobody watches.
        context.load_cert_chain(tls["client_cert"], tls["client_key"], password=lambda: b"")
    return context


def _expiry(wrapped: ssl.SSLSocket, min_days: int) -> str:
    """Why the certificate is too near to its end; empty when it is not, or nobody asked."""
    ends = (wrapped.getpeercert() or {}).get("notAfter") if min_days else None
    if not isinstance(ends, str):
        return ""
    # The one use of the wall clock: a certificate's end is a date.
    left = (ssl.cert_time_to_seconds(ends) - time.time()) / _DAY
    return f"the certificate ends in {left:.1f} days, expected at least {min_days}" if left < min_days else ""


def _words(statuses: list[list[int]]) -> str:
    return ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in statuses)


def _authority(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
