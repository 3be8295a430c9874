"""Mutants of frames that know where headers, quotes and connection ids are; repeatable from a seed.

A change goes to a field and gives it a value that some rule asks for. Afterwards lengths and checksums are set right in
a share of the mutants, so that code behind these checks is reached as well.
"""

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from edge.datapath.headers import checksum
from tests.datapath import world as w

TAGS = (b"\x81\0", b"\x88\xa8")
ETHERTYPES = (b"\x08\0", b"\x86\xdd", b"\x81\0", b"\x88\xa8", b"\x08\x06")
PROTOCOLS = (6, 6, 17, 17, 1, 58, 4, 41, 47, 0, 43, 44, 60, 135, 139, 140, 50, 51, 59, 132, 253)
PORTS = (0, 22, 53, 80, 81, 82, 123, 443, 6080, 7000, 40000, 65535)
LENGTHS = (0, 1, 7, 8, 19, 20, 21, 28, 39, 40, 48, 60, 576, 1280, 1476, 1477, 1480, 1481, 0xFFFF)
WORDS = (*LENGTHS, 0x2000, 0x3000, 0x4000, 0x8000, 0x0800, 0x86DD, 0x6558)
BYTES = (0, 1, 2, 3, 4, 5, 6, 8, 11, 12, 17, 40, 41, 44, 47, 58, 64, 0x45, 0x46, 0x60, 0x7F, 0x80, 0x81, 128, 135, 0xFF)
ICMP_TYPES = (0, 1, 2, 3, 4, 5, 8, 11, 12, 128, 129, 130, 133, 135, 136, 137, 143)
FRAGMENTS = (0, 0x2000, 1, 0x2001, 0x4000, 0x8000, 0x6000, 0x1FFF)
GRE_FLAGS = (0, 0x2000, 0x2000, 0x3000, 0x8000, 0x1000, 1, 0x0080)
MTUS = (0, 68, 551, 552, 1279, 1280, 1400, 0xFFFFFFFF)
QUIC_FIRST = (0x40, 0x43, 0xC0, 0xD0, 0xE0, 0xE3, 0xF0)
QUIC_VERSIONS = (0, 1, 0x6B3343CF, 0xFF00001D)
ADDRESSES4 = (
    *(w.WEB, w.ECHO, w.ANY, w.SIX, w.KEYED, w.BEHIND_TAG, w.LOCAL, w.AFFINE, w.PORTED, w.QUIC, w.DRAINED, w.SILENT),
    *(
        w.EMPTY,
        w.CORRUPT,
        w.BEYOND,
        w.UNRESOLVED,
        w.FAR,
        w.EDGE,
        w.HOST,
        w.OWN,
        w.MANAGEMENT,
        w.CLIENT,
        w.FREE,
        w.STRANGER,
    ),
    *("198.18.7.1", "198.18.7.129", w.NET_ONE, "10.77.1.1", "127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0"),
    *("192.0.2.1", "192.0.2.200", "192.168.1.1", "10.0.9.7", "169.254.1.1"),
)
ADDRESSES6 = (
    *(w.WEB6, w.ECHO6, w.ANY6, w.SIX6, w.KEYED6, w.BEHIND_TAG6, w.LOCAL6, w.AFFINE6, w.QUIC6, w.DRAINED6, w.SILENT6),
    *(
        w.EMPTY6,
        w.CORRUPT6,
        w.UNRESOLVED6,
        w.FAR6,
        w.EDGE6,
        w.HOST6,
        w.OWN6,
        w.MANAGEMENT6,
        w.CLIENT6,
        w.FREE6,
        w.STRANGER6,
    ),
    *("2001:db8:20::1", "2001:db8:20:1::9", w.NET6_ONE, "2001:db8:5:0:77::5", "2001:db8:9::19", "::", "::1", "ff02::1"),
    *("fe80::1", "fd00::1", "::ffff:192.0.2.1", "::192.0.2.1", "2001:db8:bad::1", "2001:db8:bad:1::1"),
)
PACKED = {
    4: tuple(ip_address(text).packed for text in ADDRESSES4),
    6: tuple(ip_address(text).packed for text in ADDRESSES6),
}
PLACES = {4: (12, 16), 6: (8, 24)}
CIDS = tuple(
    bytes((config << 5 | 9,)) + server.to_bytes(2, "big")
    for config in (2, 2, 2, 1, 7)
    for server in (*w.SERVERS, w.OTHER_SERVER, 0)
)
TCP, UDP, ICMP, ICMP6, GRE, IPIP, SIX_IN_FOUR = 6, 17, 1, 58, 47, 4, 41


@dataclass(slots=True)
class Parts:
    """Where things are: IP headers (offset, version), what follows each (offset, protocol)."""

    ips: list[tuple[int, int]] = field(default_factory=list)
    bodies: list[tuple[int, int]] = field(default_factory=list)


def parts(frame: bytes | bytearray) -> Parts:
    """Read a frame as its writer may have meant it; nothing is checked."""
    found, at, size = Parts(), 14, len(frame)
    while at <= size and frame[at - 2 : at] in TAGS:
        at += 4
    while at + 20 <= size and len(found.ips) < 3:
        version = 6 if frame[at] >> 4 == 6 else 4
        body = at + (40 if version == 6 else 20)
        if body > size:
            break
        protocol = frame[at + (6 if version == 6 else 9)]
        found.ips.append((at, version))
        found.bodies.append((body, protocol))
        if protocol in (ICMP, ICMP6):
            at = body + 8
        elif protocol in (IPIP, SIX_IN_FOUR):
            at = body
        elif protocol == GRE and body < size:
            at = body + (8 if frame[body] & 0x20 else 4)
        else:
            break
    return found


class Mutator:
    """Changes a frame in place, by draws from one seed."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        # Each as often as it stands here.
        self.changes = (
            *(self.ip_field,) * 3,
            *(self.body,) * 5,
            *(self.address,) * 3,
            *(self.raw, self.bit, self.cut, self.tail, self.tag, self.mac, self.extension),
        )

    def ip_field(self, frame: bytearray, at: Parts) -> None:
        """Give a field of an IP header a telling value."""
        if not at.ips:
            return self.raw(frame, at)
        start, version = self.draw.choice(at.ips)
        which = self.draw.randrange(7)
        if which == 0:
            frame[start] = self.draw.choice((0x45, 0x46, 0x44, 0x4F, 0x60, 0x65, 0x6F))
        elif which == 1:
            frame[start + 1] = self.draw.randrange(256)
        elif which == 2:
            self._length(frame, start + (2 if version == 4 else 4))
        elif which == 3:
            frame[start + (8 if version == 4 else 7)] = self.draw.choice((0, 1, 64, 255))
        elif which == 4 and version == 4:
            struct.pack_into("!H", frame, start + 6, self.draw.choice(FRAGMENTS))
        else:
            frame[start + (9 if version == 4 else 6)] = self.draw.choice(PROTOCOLS)
        return None

    def body(self, frame: bytearray, at: Parts) -> None:
        """Give a field behind an IP header a telling value."""
        if not at.bodies:
            return self.raw(frame, at)
        start, protocol = self.draw.choice(at.bodies)
        if len(frame) < start + 14:
            return self.raw(frame, at)
        if protocol == GRE:
            self._gre(frame, start)
        elif protocol in (ICMP, ICMP6):
            self._icmp(frame, start)
        elif protocol == UDP and self.draw.random() < 0.5:
            self._quic(frame, start + 8)
        elif self.draw.random() < 0.25:
            frame[start + 12] = self.draw.choice((0x00, 0x40, 0x50, 0x60, 0xF0))  # TCP's data offset
        elif self.draw.random() < 0.2:
            self._length(frame, start + 4)  # UDP's length
        else:
            port = self.draw.choice(PORTS) if self.draw.random() < 0.7 else self.draw.randrange(65536)
            struct.pack_into("!H", frame, start + self.draw.choice((0, 2, 2)), port)
        return None

    def address(self, frame: bytearray, at: Parts) -> None:
        """Put an address that means something where addresses are."""
        if not at.ips:
            return
        start, version = self.draw.choice(at.ips)
        place = start + self.draw.choice(PLACES[version])
        chosen = self.draw.choice(PACKED[version])
        if place + len(chosen) <= len(frame):
            frame[place : place + len(chosen)] = chosen

    def raw(self, frame: bytearray, _: Parts) -> None:
        """Put a telling byte or word anywhere near the front."""
        where = self.draw.randrange(min(len(frame), 120))
        if self.draw.random() < 0.5:
            frame[where] = self.draw.choice(BYTES) if self.draw.random() < 0.7 else self.draw.randrange(256)
        elif where + 2 <= len(frame):
            struct.pack_into("!H", frame, where, self.draw.choice(WORDS))

    def bit(self, frame: bytearray, _: Parts) -> None:
        """Flip one bit anywhere."""
        frame[self.draw.randrange(len(frame))] ^= 1 << self.draw.randrange(8)

    def cut(self, frame: bytearray, _: Parts) -> None:
        """End the frame anywhere behind its Ethernet header, mostly near the front."""
        end = self.draw.randrange(14, len(frame) + 1)
        del frame[min(end, self.draw.randrange(14, 140)) if self.draw.random() < 0.7 else end :]

    def tail(self, frame: bytearray, _: Parts) -> None:
        """Append bytes."""
        frame += self.draw.randbytes(self.draw.choice((1, 2, 7, 8, 20, 40, 59)))

    def tag(self, frame: bytearray, _: Parts) -> None:
        """Put a tag in or take one off."""
        if frame[12:14] in TAGS and len(frame) >= 18 and self.draw.random() < 0.4:
            del frame[12:16]
        else:
            frame[12:12] = self.draw.choice(TAGS) + self.draw.randbytes(2)

    def mac(self, frame: bytearray, _: Parts) -> None:
        """Another MAC or ethertype."""
        which = self.draw.randrange(3)
        if which == 0:
            frame[0:6] = self.draw.choice((w.OWN_MAC, w.OWN_MAC, w.ROUTER_MAC, b"\xff" * 6, b"\x01\0\x5e\0\0\1"))
        elif which == 1:
            frame[6:12] = self.draw.choice((w.ROUTER_MAC, bytes(6), b"\xff" * 6, b"\x33\x33\0\0\0\1", b"\0\0\0\0\0\1"))
        else:
            frame[12:14] = self.draw.choice(ETHERTYPES)

    def extension(self, frame: bytearray, at: Parts) -> None:
        """Insert an IPv6 extension header, or eight bytes of IPv4 options."""
        if not at.ips:
            return
        start, version = self.draw.choice(at.ips)
        if version == 4:
            frame[start] = 0x47
            frame[start + 20 : start + 20] = b"\x01" * 8
        else:
            kind = self.draw.choice((0, 43, 44, 60, 135))
            inserted = bytes((frame[start + 6], 0)) + self.draw.choice((b"\0\0", b"\0\1", b"\0\x08")) + bytes(4)
            frame[start + 6] = kind
            frame[start + 40 : start + 40] = inserted

    def _length(self, frame: bytearray, where: int) -> None:
        if where + 2 <= len(frame):
            now = frame[where] << 8 | frame[where + 1]
            near = (now + self.draw.choice((-8, -2, -1, 1, 2, 8))) & 0xFFFF
            struct.pack_into("!H", frame, where, near if self.draw.random() < 0.5 else self.draw.choice(LENGTHS))

    def _gre(self, frame: bytearray, start: int) -> None:
        which = self.draw.randrange(4)
        if which == 0:
            struct.pack_into("!H", frame, start, self.draw.choice(GRE_FLAGS))
        elif which == 1:
            struct.pack_into("!H", frame, start + 2, self.draw.choice((0x0800, 0x86DD, 0x6558, 0x883E)))
        elif which == 2:
            struct.pack_into("!I", frame, start + 4, self.draw.choice((w.KEY, w.KEY ^ 1, 0)))
        else:
            frame[start : start + 4] = struct.pack("!HHI", 0x2000, self.draw.choice((0x0800, 0x86DD)), w.KEY)

    def _icmp(self, frame: bytearray, start: int) -> None:
        which = self.draw.randrange(4)
        if which == 0:
            frame[start] = self.draw.choice(ICMP_TYPES)
        elif which == 1:
            frame[start + 1] = self.draw.choice((0, 0, 1, 4, 255))
        elif which == 2:
            struct.pack_into("!I", frame, start + 4, self.draw.choice(MTUS))
        else:
            struct.pack_into("!H", frame, start + 2, self.draw.randrange(65536))

    def _quic(self, frame: bytearray, start: int) -> None:
        identity = self.draw.choice(CIDS)
        if self.draw.random() < 0.5:
            new = bytes((self.draw.choice(QUIC_FIRST) & 0x7F,)) + identity
        else:
            version = self.draw.choice(QUIC_VERSIONS).to_bytes(4, "big")
            new = (
                bytes((self.draw.choice(QUIC_FIRST) | 0x80,))
                + version
                + bytes((self.draw.choice((0, 2, 3, 8)),))
                + identity
            )
        frame[start : start + len(new)] = new


def mutants(given: Sequence[bytes], count: int | None, seed: int, longest: int = 3400) -> Iterator[bytes]:
    """Frames of 14 to `longest` bytes with one to four changes, mended in most cases. `count` None: without end."""
    mutator = Mutator(seed)
    draw, made = mutator.draw, 0
    while count is None or made < count:
        frame = bytearray(draw.choice(given))
        for _ in range(draw.choice((1, 1, 2, 2, 3, 4))):
            draw.choice(mutator.changes)(frame, parts(frame))
        if draw.random() < 0.75:
            mend(frame, lengths=draw.random() < 0.5, sums=draw.random() < 0.8)
        if 14 <= len(frame) <= longest:
            made += 1
            yield bytes(frame)


def mend(frame: bytearray, *, lengths: bool, sums: bool) -> None:
    """Set IPv4 header checksums right, and if asked: the length of the outermost packet, the checksums of ICMP."""
    found = parts(frame)
    if lengths and found.ips:
        start, version = found.ips[0]
        present = len(frame) - start
        struct.pack_into(
            "!H", frame, start + (2 if version == 4 else 4), (present if version == 4 else present - 40) & 0xFFFF
        )
    for (start, version), (body, protocol) in zip(reversed(found.ips), reversed(found.bodies), strict=True):
        if version == 4:
            mend_header(frame, start)
        if sums and protocol in (ICMP, ICMP6) and start == found.ips[0][0]:
            _mend_icmp(frame, start, version, body)


def mend_header(frame: bytearray, start: int) -> None:
    """The checksum of an IPv4 header without options."""
    if frame[start] & 15 == 5:
        frame[start + 10 : start + 12] = b"\0\0"
        frame[start + 10 : start + 12] = checksum(bytes(frame[start : start + 20])).to_bytes(2, "big")


def _mend_icmp(frame: bytearray, start: int, version: int, body: int) -> None:
    field_at = start + (2 if version == 4 else 4)
    length = (frame[field_at] << 8 | frame[field_at + 1]) + (0 if version == 4 else 40)
    end = start + length
    if body + 4 <= end <= len(frame):
        frame[body + 2 : body + 4] = b"\0\0"
        message = bytes(frame[body:end])
        pseudo = b"" if version == 4 else bytes(frame[start + 8 : start + 40]) + struct.pack("!II", len(message), ICMP6)
        frame[body + 2 : body + 4] = checksum(pseudo + message).to_bytes(2, "big")
