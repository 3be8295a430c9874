"""Builds the frames of the packet tests. Scapy is imported at the first frame, so that collecting tests stays fast.

An address with a colon makes an IPv6 packet; `ip` and further keywords are Scapy's fields.
"""

import functools
import importlib
import struct
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from tests.datapath import world as w

ETHERNET = 14
IPV4, IPV6 = 0x0800, 0x86DD
TAG_KINDS = (0x8100, 0x88A8)
Fields = dict[str, Any] | None


@functools.cache
def scapy(module: str = "scapy.layers.inet") -> Any:
    """One of Scapy's modules."""
    return importlib.import_module(module)


def scapy6() -> Any:
    """Scapy's IPv6."""
    return scapy("scapy.layers.inet6")


def ether(payload: Any, destination: bytes = w.OWN_MAC, source: bytes = w.ROUTER_MAC, kind: int | None = None) -> bytes:
    """A frame from the router to the edge around Scapy layers or bytes; its type is told by the first octet."""
    data = bytes(payload)
    if kind is None:
        kind = IPV6 if data[:1] and data[0] >> 4 == 6 else IPV4
    return destination + source + struct.pack("!H", kind) + data


def packet(vip: str, l4: Any, client: str | None = None, **ip: Any) -> bytes:
    """An IP packet from a client to a VIP."""
    if ":" in vip:
        given = {"src": client or w.CLIENT6, "dst": vip, "hlim": 61, "fl": 0x12345, **ip}
        return bytes(scapy6().IPv6(**given) / l4)
    return bytes(scapy().IP(**{"src": client or w.CLIENT, "dst": vip, "id": 4711, "ttl": 61, **ip}) / l4)


def tcp(
    vip: str = w.WEB, dport: int = 80, sport: int = 40000, data: bytes = b"", ip: Fields = None, **l4: Any
) -> bytes:
    """A frame with a TCP segment to a VIP."""
    return ether(packet(vip, scapy().TCP(**{"sport": sport, "dport": dport, "flags": "A", **l4}) / data, **(ip or {})))


def udp(
    vip: str = w.ECHO, dport: int = 7000, sport: int = 40000, data: bytes = b"x", ip: Fields = None, **l4: Any
) -> bytes:
    """A frame with a UDP datagram to a VIP."""
    return ether(packet(vip, scapy().UDP(sport=sport, dport=dport, **l4) / data, **(ip or {})))


def echo(vip: str = w.WEB, data: bytes = b"ping of 26 bytes in total", ip: Fields = None, **icmp: Any) -> bytes:
    """A frame with an ICMP echo request."""
    if ":" in vip:
        asked = scapy6().ICMPv6EchoRequest(**{"id": 77, "seq": 3, "data": data, **icmp})
        return ether(packet(vip, asked, **(ip or {})))
    return ether(packet(vip, scapy().ICMP(**{"type": 8, "id": 77, "seq": 3, **icmp}) / data, **(ip or {})))


def sent_by(
    vip: str, protocol: int = 6, sport: int = 80, dport: int = 40000, length: int | None = None, **ip: Any
) -> bytes:
    """The first `length` bytes of a packet that a backend sent from a VIP to the client, as a router quotes it."""
    l4 = scapy().TCP(sport=sport, dport=dport, flags="A") if protocol == 6 else scapy().UDP(sport=sport, dport=dport)
    if ":" in vip:
        sent = scapy6().IPv6(**{"src": vip, "dst": w.CLIENT6, **ip}) / l4 / bytes(1400)
        return bytes(sent)[: 48 if length is None else length]
    return bytes(scapy().IP(**{"src": vip, "dst": w.CLIENT, **ip}) / l4 / bytes(1400))[
        : 28 if length is None else length
    ]


def error(
    quoted: bytes,
    vip: str = w.WEB,
    kind: int | None = None,
    code: int | None = None,
    mtu: int = 1400,
    source: str | None = None,
) -> bytes:
    """A frame with an ICMP error from a router somewhere to a VIP: too big, if not said otherwise."""
    if ":" in vip:
        told = icmp6(
            source or w.STRANGER6, vip, 2 if kind is None else kind, code or 0, struct.pack("!I", mtu) + quoted
        )
        return ether(packet(vip, told, source or w.STRANGER6, nh=58))
    told = icmp(3 if kind is None else kind, 4 if code is None else code, struct.pack("!HH", 0, mtu) + quoted)
    return ether(packet(vip, told, source or w.STRANGER, proto=1))


def icmp(kind: int, code: int, rest: bytes) -> bytes:
    """An ICMP message with its checksum."""
    return struct.pack("!BBH", kind, code, ones_complement(struct.pack("!BBH", kind, code, 0) + rest)) + rest


def icmp6(source: str, destination: str, kind: int, code: int, rest: bytes) -> bytes:
    """An ICMPv6 message with its checksum."""
    message = struct.pack("!BBH", kind, code, 0) + rest
    pseudo = ip_address(source).packed + ip_address(destination).packed + struct.pack("!II", len(message), 58)
    return struct.pack("!BBH", kind, code, ones_complement(pseudo + message)) + rest


def ones_complement(data: bytes) -> int:
    """The Internet checksum, by Scapy."""
    return int(scapy("scapy.utils").checksum(data))


def tag(frame: bytes, *tags: tuple[int, int]) -> bytes:
    """The frame with (ethertype, control) tags behind its MACs."""
    inserted = b"".join(struct.pack("!HH", kind, control) for kind, control in tags)
    return frame[:12] + inserted + frame[12:]


def ip_at(frame: bytes) -> int:
    """Where IP begins: behind Ethernet and tags."""
    at = ETHERNET
    while struct.unpack_from("!H", frame, at - 2)[0] in TAG_KINDS:
        at += 4
    return at


def packet_of(frame: bytes) -> bytes:
    """The IP packet in a frame, without tags and padding."""
    at = ip_at(frame)
    six = frame[at] >> 4 == 6
    length = struct.unpack_from("!H", frame, at + (4 if six else 2))[0] + (40 if six else 0)
    return frame[at : at + length]


def patched(frame: bytes, at: int, new: bytes, *, fix: bool = True) -> bytes:
    """Overwrite bytes of the IP header or behind it (`at` counts from the IP header); `fix`: correct its checksum."""
    at += ETHERNET
    changed = frame[:at] + new + frame[at + len(new) :]
    return with_checksum(changed) if fix else changed


def each(frame: bytes, at: int) -> list[bytes]:
    """The frame with every value of the octet at `at` behind its Ethernet header."""
    return [patched(frame, at, bytes((value,))) for value in range(256)]


def with_checksum(frame: bytes) -> bytes:
    """Set the IPv4 header checksum right, as far as the header is there."""
    length = (frame[ETHERNET] & 15) * 4
    header = frame[ETHERNET : ETHERNET + length]
    if len(header) < length or length < 20 or frame[12:14] != b"\x08\0":
        return frame
    number = ones_complement(header[:10] + b"\0\0" + header[12:])
    return frame[: ETHERNET + 10] + struct.pack("!H", number) + frame[ETHERNET + 12 :]


def with_options(frame: bytes, options: bytes) -> bytes:
    """Insert IPv4 options (a multiple of four bytes, up to 40)."""
    ip = ETHERNET
    first = bytes((0x45 + len(options) // 4,))
    length = struct.pack("!H", len(frame) - ip + len(options))
    grown = frame[:ip] + first + frame[ip + 1 : ip + 2] + length + frame[ip + 4 : ip + 20] + options + frame[ip + 20 :]
    return with_checksum(grown)


def with_header6(frame: bytes, kind: int, header: bytes) -> bytes:
    """Insert an extension header of type `kind` behind the IPv6 header; its first octet becomes the next header's."""
    ip = ETHERNET
    length = struct.pack("!H", len(frame) - ip - 40 + len(header))
    front = frame[: ip + 4] + length + bytes((kind,)) + frame[ip + 7 : ip + 40]
    return front + frame[ip + 6 : ip + 7] + header[1:] + frame[ip + 40 :]


def cut(frame: bytes, lengths: Iterable[int]) -> list[bytes]:
    """The frame ended after each length."""
    return [frame[:length] for length in lengths]
