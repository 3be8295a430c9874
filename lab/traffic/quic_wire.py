"""The octets of QUIC-like flows: just enough of RFC 9000's headers that an edge reads the connection id. No I/O.

A client's datagrams have a long header with a random connection id of its own until the server's is known:

    0xC0 | version 0xFA1C0001 | 8 | its choice (8 octets) | 0 | payload

and a short one with the server's from then on: `0x40 | the server's (8 octets) | payload`. The answer has no header: it
is the text `<backend> <the server's connection id in hexadecimal> <payload>`, so nothing here is encrypted.
"""

from typing import NamedTuple

VERSION = 0xFA1C0001
ID_LENGTH = 8
_LONG = 0xC0
_SHORT = 0x40


class Answer(NamedTuple):
    """What a server said: its name, the connection id that it chose, and the payload that came back."""

    backend: str
    connection: bytes
    payload: bytes


def first(choice: bytes, payload: bytes) -> bytes:
    """A datagram before the server's connection id is known; `choice` has 8 random octets."""
    return bytes((_LONG,)) + VERSION.to_bytes(4, "big") + bytes((ID_LENGTH,)) + choice + b"\0" + payload


def later(connection: bytes, payload: bytes) -> bytes:
    """A datagram to the server that chose `connection`."""
    return bytes((_SHORT,)) + connection + payload


def read_answer(data: bytes) -> Answer | None:
    """The answer that a datagram is, None where it is none."""
    backend, _, rest = data.rstrip(b"\r\n").partition(b" ")
    digits, _, payload = rest.partition(b" ")
    try:
        connection = bytes.fromhex(digits.decode("ascii"))
        name = backend.decode("ascii")
    except ValueError:
        return None
    return Answer(name, connection, payload) if name and len(connection) == ID_LENGTH else None
