"""udp and dns: one datagram there and the answer to it."""

import socket
from collections.abc import Mapping
from typing import Any

from edge.checks.asking import IN, Ask, Probe, Steps, Verdict, family_of, keep_to

_DATAGRAM = 1 << 16


def _asked(ask: Ask, question: bytes) -> Steps[bytes]:
    """The first answer. A connected socket takes none from others, and hears of a port that nobody has."""
    address = ask.target.address
    with socket.socket(family_of(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as made:
        keep_to(made, ask.only)
        made.connect((address, ask.target.options["port"]))
        made.send(question)
        while True:
            yield made.fileno(), IN
            try:
                return made.recv(_DATAGRAM)
            except BlockingIOError:
                continue


def udp_probe(ask: Ask) -> Probe:
    """Send, and look for what is expected in the first answer."""
    options = ask.target.options
    expected = bytes.fromhex(options["expect"])
    answer = yield from _asked(ask, bytes.fromhex(options["send"]))
    if expected not in answer:
        return Verdict(False, f"an answer of {len(answer)} bytes that lacks {_short(expected)}: {_short(answer)}")
    return Verdict(True, f"an answer of {len(answer)} bytes")


def dns_probe(ask: Ask) -> Probe:
    """Ask one question (RFC 1035). Whatever is no answer to it is a failure with its reason."""
    import dns.exception  # noqa: PLC0415 - 40 ms that only a checker with dns checks spends
    import dns.message  # noqa: PLC0415

    options = ask.target.options
    question = dns.message.make_query(options["name"], options["record"])
    answer = yield from _asked(ask, question.to_wire())
    try:
        read = dns.message.from_wire(answer)
        right = question.is_response(read)
    except (dns.exception.DNSException, ValueError, IndexError, KeyError) as error:
        return Verdict(False, f"not DNS: {type(error).__name__} in an answer of {len(answer)} bytes")
    if not right:
        return Verdict(False, "an answer to another question")
    return _judged(read, options)


def _judged(read: Any, options: Mapping[str, Any]) -> Verdict:
    import dns.rcode  # noqa: PLC0415
    import dns.rdatatype  # noqa: PLC0415

    rcode = dns.rcode.to_text(read.rcode())
    if rcode != options["rcode"]:
        return Verdict(False, f"{rcode}, expected {options['rcode']}")
    kind = dns.rdatatype.from_text(options["record"])
    found = [item.to_text() for rrset in read.answer if rrset.rdtype == kind for item in rrset]
    wanted = options["answer"]
    if wanted is None:
        return Verdict(True, f"{rcode}, {len(found)} records")
    if wanted in found or f'"{wanted}"' in found or f"{wanted}." in found:
        return Verdict(True, f"{rcode}, {wanted}")
    shown = ", ".join(found[:4]) or ("nothing: it was truncated" if read.flags & 0x0200 else "nothing")
    return Verdict(False, f"{rcode}, but not {wanted}: {shown}")


def _short(data: bytes) -> str:
    return repr(data[:24])[1:] + ("..." if len(data) > 24 else "")
