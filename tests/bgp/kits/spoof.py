"""Segments with another's address: what an outsider can send who knows everything of a connection but its key."""

import socket

from scapy.layers.inet import IP, TCP

from lab.observe.inside import inside
from tests.bgp.kits.speaker import EdgeSpeaker
from tests.bgp.routers.net import Leaf, run_in

CEASE = b"\xff" * 16 + b"\0\x15\x03\x06\x02"
"""A NOTIFICATION that ends a session (RFC 4271 4.5)."""


def forge(outsider: Leaf, victim: EdgeSpeaker, ttl: int, flags: str, payload: bytes = b"") -> None:
    """Send one segment in the victim's name, with its own port and the sequence number that the router expects."""
    port, sequence = victim.port_and_sequence()
    leaf = victim.leaf
    segment = TCP(sport=port, dport=179, seq=sequence, ack=0, flags=flags, window=1000) / payload
    packet = bytes(IP(src=str(leaf.address), dst=str(leaf.router), ttl=ttl) / segment)

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(packet, (str(leaf.router), 0))

    inside(outsider.netns, send)


def counter(leaf: Leaf, router: object, name: str) -> int:
    """A counter of the TCP of the namespace that the router runs in (/proc/net/netstat)."""
    lines = run_in(router.netns, "cat", "/proc/net/netstat").splitlines()  # type: ignore[attr-defined]
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        found = dict(zip(names.split(), values.split(), strict=True))
        if name in found:
            return int(found[name])
    raise KeyError(name)
