"""The oracle's part on QUIC: the server id in a connection id (core: no I/O).

Long and short headers: RFC 9000, section 17; version 2: RFC 9369; ids: draft-ietf-quic-load-balancers, section 5.2.
"""

from typing import NamedTuple

_LONG = 0x80
_HANDSHAKES = {1: 2, 0x6B3343CF: 3}  # long packet type of a Handshake packet, by version
_LONG_ID = 6  # offset of the destination connection id behind flags, version and its length


class ServerId(NamedTuple):
    """What a connection id says: the configuration it was made by (7: none), and the number of the server."""

    config: int
    server: int


def server_id(payload: bytes, length: int) -> ServerId | None:
    """The id of `length` octets in a datagram's payload; None when it has none that a server chose, or is cut."""
    at = _id_offset(payload, length)
    if at is None or len(payload) < at + 1 + length:
        return None
    return ServerId(payload[at] >> 5, int.from_bytes(payload[at + 1 : at + 1 + length], "big"))


def _id_offset(payload: bytes, length: int) -> int | None:
    """Where the connection id begins. Of long headers only Handshake packets surely hold the server's choice."""
    if not payload:
        return None
    if not payload[0] & _LONG:
        return 1
    if len(payload) < _LONG_ID:
        return None
    kind = payload[0] >> 4 & 3
    if _HANDSHAKES.get(int.from_bytes(payload[1:5], "big")) != kind or payload[5] < 1 + length:
        return None
    return _LONG_ID
