"""Packet captures in pcapng (draft-ietf-opsawg-pcapng): one section, its interfaces, a packet each (core: no I/O).

A packet carries what it met: a comment for people, and the XDP action as programs know it (`epb_verdict`).
"""

import struct
from collections.abc import Iterable

from edge.datapath.abi import Verdict

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER, _VERSION, _LENGTH_UNKNOWN = 0x1A2B3C4D, (1, 0), -1
_ETHERNET = 1  # LINKTYPE_ETHERNET
_END_OF_OPTIONS, _COMMENT = 0, 1
_APPLICATION = 4  # shb_userappl
_NAME, _RESOLUTION = 2, 9  # if_name, if_tsresol
_FLAGS, _VERDICT = 2, 7  # epb_flags, epb_verdict
_NANOSECONDS = b"\x09"
_BY_XDP = b"\x02"  # of epb_verdict: what follows is an XDP action, eight bytes
_INBOUND, _OUTBOUND = 1, 2


class Writer:
    """Makes the blocks of one file, to be written in the order in which they were made; `header()` comes first."""

    def __init__(self, application: str) -> None:
        self._application = application
        self._interfaces: dict[str, int] = {}

    def header(self, interfaces: Iterable[str] = ()) -> bytes:
        """What begins the file, with interfaces that are known already: tcpdump takes no file without one."""
        fixed = struct.pack("<I2Hq", _BYTE_ORDER, *_VERSION, _LENGTH_UNKNOWN)
        section = _block(_SECTION, fixed + _options((_APPLICATION, self._application.encode())))
        return section + b"".join(map(self._declare, interfaces))

    def packet(self, interface: str, time: int, frame: bytes, length: int, verdict: Verdict, comment: str) -> bytes:
        """A packet, and before the first one of an interface, that interface.

        `time` is nanoseconds since 1970; `length` is the frame's own when only the beginning is in `frame`.
        """
        front = b"" if interface in self._interfaces else self._declare(interface)
        direction = _OUTBOUND if verdict in (Verdict.TX, Verdict.REDIRECT) else _INBOUND
        fixed = struct.pack(
            "<5I", self._interfaces[interface], time >> 32, time & 0xFFFFFFFF, len(frame), max(length, len(frame))
        )
        options = _options(
            (_COMMENT, comment.encode()),
            (_FLAGS, struct.pack("<I", direction)),
            (_VERDICT, _BY_XDP + struct.pack("<Q", verdict)),
        )
        return front + _block(_PACKET, fixed + _padded(frame) + options)

    def _declare(self, interface: str) -> bytes:
        self._interfaces[interface] = len(self._interfaces)
        fixed = struct.pack("<2HI", _ETHERNET, 0, 0)  # no limit to what is kept of a packet
        return _block(_INTERFACE, fixed + _options((_NAME, interface.encode()), (_RESOLUTION, _NANOSECONDS)))


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def _options(*options: tuple[int, bytes]) -> bytes:
    each = [struct.pack("<2H", code, len(value)) + _padded(value) for code, value in options]
    return b"".join(each) + struct.pack("<2H", _END_OF_OPTIONS, 0)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
