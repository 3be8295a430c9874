"""An edge of a kit's test: the tests' BGP speaker with MD5 and a TTL, and whatever bytes a hostile one may send."""

import socket
import struct
from collections.abc import Callable
from ipaddress import ip_network
from typing import Final

from tests.bgp.routers.net import Leaf
from tests.lab.bgp_speaker import Speaker

_MD5SIG, _REPAIR, _REPAIR_QUEUE, _QUEUE_SEQ, _SEND_QUEUE = 14, 19, 20, 21, 2  # linux/tcp.h
_MINTTL = 21  # linux/in.h
UPDATE: Final = 2


def signed(sock: socket.socket, peer: str, key: str) -> None:
    """Sign what is exchanged with an IPv4 peer (RFC 2385, struct tcp_md5sig)."""
    address = struct.pack("!HH4s120x", 0, 0, socket.inet_aton(peer))
    address = struct.pack("=H", socket.AF_INET) + address[2:]
    sock.setsockopt(socket.IPPROTO_TCP, _MD5SIG, address + struct.pack("=BBHi80s", 0, 0, len(key), 0, key.encode()))


def dialler(leaf: Leaf, md5: str | None, ttl: int, least: int) -> Callable[[], socket.socket]:
    """Calls the leaf's router from the leaf's own address; raises TimeoutError after a second.

    Packets leave with `ttl`; those that come with less than `least` are dropped, as GTSM has it at the edge's end.
    """

    def dial() -> socket.socket:
        sock = socket.socket()
        sock.settimeout(1)
        try:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            sock.setsockopt(socket.IPPROTO_IP, _MINTTL, least)
            if md5 is not None:
                signed(sock, str(leaf.router), md5)
            sock.bind((str(leaf.address), 0))
            sock.connect((str(leaf.router), 179))
        except BaseException:
            sock.close()
            raise
        return sock

    return dial


class EdgeSpeaker(Speaker):
    """A speaker on a leaf. `mute` lets it fall silent without closing; `raw_update` says anything."""

    def __init__(
        self,
        leaf: Leaf,
        asn: int,
        *,
        md5: str | None = None,
        ttl: int = 255,
        least: int = 0,
        restarts: bool = False,
    ) -> None:
        self.mute = False
        self.leaf = leaf
        dial = dialler(leaf, md5, ttl, least)
        super().__init__(leaf.netns, leaf.address, leaf.address6, leaf.router, asn, restarts=restarts, dial=dial)

    def raw_update(self, attributes: bytes, *prefixes: str, withdrawn: bytes = b"") -> None:
        """An UPDATE of IPv4 unicast with these bytes for its path attributes."""
        body = struct.pack("!H", len(withdrawn)) + withdrawn + struct.pack("!H", len(attributes)) + attributes
        self._send(UPDATE, body + b"".join(map(nlri, prefixes)))

    def raw(self, body: bytes) -> None:
        """An UPDATE with these bytes for its body."""
        self._send(UPDATE, body)

    def port_and_sequence(self) -> tuple[int, int]:
        """The connection's own port, and the sequence number that the router expects next: what no outsider knows."""
        self._sock.setsockopt(socket.IPPROTO_TCP, _REPAIR, 1)
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, _REPAIR_QUEUE, _SEND_QUEUE)
            sequence = self._sock.getsockopt(socket.IPPROTO_TCP, _QUEUE_SEQ)
        finally:
            self._sock.setsockopt(socket.IPPROTO_TCP, _REPAIR, 0)
        return self._sock.getsockname()[1], sequence & 0xFFFFFFFF

    def told(self) -> int:
        """How many UPDATEs announced something: with NLRI, or with MP_REACH_NLRI (RFC 4760)."""
        return sum(kind == UPDATE and _announces(body) for kind, body in self.received)

    def _send(self, kind: int, body: bytes = b"") -> None:
        if not self.mute:
            super()._send(kind, body)


def _announces(body: bytes) -> bool:
    withdrawn = int.from_bytes(body[:2], "big")
    attributes_end = 4 + withdrawn + int.from_bytes(body[2 + withdrawn : 4 + withdrawn], "big")
    attributes, kinds = body[4 + withdrawn : attributes_end], set()
    while attributes:
        wide = bool(attributes[0] & 0x10)
        kinds.add(attributes[1])
        size = int.from_bytes(attributes[2 : 4 if wide else 3], "big")
        attributes = attributes[(4 if wide else 3) + size :]
    return attributes_end < len(body) or 14 in kinds


def nlri(prefix: str) -> bytes:
    """A prefix as UPDATEs have it (RFC 4271 4.3)."""
    network = ip_network(prefix)
    return bytes((network.prefixlen,)) + network.network_address.packed[: (network.prefixlen + 7) // 8]


def attribute(flags: int, kind: int, value: bytes) -> bytes:
    """One path attribute (RFC 4271 4.3), with a length of one octet."""
    return bytes((flags, kind, len(value))) + value


def good_attributes(asn: int, next_hop: str, without: int | None = None) -> dict[int, bytes]:
    """ORIGIN, AS_PATH and NEXT_HOP of an honest edge, each a whole attribute, by type."""
    found = {
        1: attribute(0x40, 1, b"\0"),
        2: attribute(0x40, 2, struct.pack("!BBI", 2, 1, asn)),
        3: attribute(0x40, 3, socket.inet_aton(next_hop)),
    }
    found.pop(without or 0, None)
    return found
