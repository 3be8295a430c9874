"""Packets made by hand, sent and heard in the namespaces of a running lab, in either family."""

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.observe.inside import inside
from lab.observe.tunnel import checksum
from lab.traffic.flow import TCP, Flow, IpAddress

_ETHERNET = 14
_ICMP, _ICMPV6 = 1, 58
_SO_RCVBUFFORCE, _BUFFER = 33, 16 << 20
_IN_A_ROW, _PAUSE = 50, 0.003  # a veth with an XDP program takes 256 frames at once, and loses the next


def ip_packet(source: IpAddress, destination: IpAddress, protocol: int, payload: bytes) -> bytes:
    """One packet without options: DF in IPv4, no extension header in IPv6."""
    if source.version == 6:
        head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
        return head + source.packed + destination.packed + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0)
    head += source.packed + destination.packed
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + payload


def segment(flow: Flow) -> bytes:
    """A TCP segment of a flow with a wrong checksum: it is routed like any other, and no stack answers it."""
    tcp = struct.pack("!HHIIBBHHH", flow.client_port, flow.vip_port, 1, 1, 0x50, 0x10, 1000, 0xDEAD, 0)
    return ip_packet(flow.client, flow.vip, TCP, tcp)


def too_big(router: IpAddress, flow: Flow, mtu: int) -> bytes:
    """What a router says about a full-size packet of the answer to a flow: ICMP 3/4, ICMPv6 type 2 (RFC 792, 4443)."""
    quoted = struct.pack("!HHI", flow.vip_port, flow.client_port, 1)
    answer = ip_packet(flow.vip, flow.client, TCP, quoted)
    if router.version == 4:
        answer = answer[:2] + (1500).to_bytes(2, "big") + answer[4:]  # its checksum is not looked at
        message = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + answer
        message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
        return ip_packet(router, flow.vip, _ICMP, message)
    answer = answer[:4] + (1460).to_bytes(2, "big") + answer[6:]
    message = struct.pack("!BBHI", 2, 0, 0, mtu) + answer
    pseudo = router.packed + flow.vip.packed + struct.pack("!II", len(message), _ICMPV6)
    message = message[:2] + checksum(pseudo + message).to_bytes(2, "big") + message[4:]
    return ip_packet(router, flow.vip, _ICMPV6, message)


def send(netns: Path, packets: Sequence[bytes]) -> None:
    """Let a node send whole packets by its routes, slowly enough for the veths on the way."""

    def go() -> None:
        six = packets[0][0] >> 4 == 6
        family = socket.AF_INET6 if six else socket.AF_INET
        with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            for number, packet in enumerate(packets, 1):
                to = socket.inet_ntop(family, packet[24:40] if six else packet[16:20])
                sock.sendto(packet, (to, 0))
                if number % _IN_A_ROW == 0:
                    time.sleep(_PAUSE)

    inside(netns, go)


@dataclass(frozen=True)
class Heard:
    """One packet, from its IP header on, and whether the node itself sent it."""

    packet: bytes
    outgoing: bool

    @property
    def segment_port(self) -> int | None:
        """The client's port of a TCP segment to a VIP; None for anything else."""
        return self._number(0) if self._protocol() == TCP else None

    @property
    def quoted_port(self) -> int | None:
        """The client's port in a packet that an ICMP "too big" quotes; None for anything else."""
        kind = {_ICMP: (3, 4), _ICMPV6: (2, 0)}.get(self._protocol())
        at = self._head()
        if kind is None or tuple(self.packet[at : at + 2]) != kind:
            return None
        return self._number(8 + self._head() + 2)

    def _six(self) -> bool:
        return self.packet[0] >> 4 == 6

    def _head(self) -> int:
        return 40 if self._six() else 20

    def _protocol(self) -> int:
        return self.packet[6 if self._six() else 9]

    def _number(self, at: int) -> int:
        at += self._head()
        return int.from_bytes(self.packet[at : at + 2], "big")


class Ear:
    """Hears the packets of one interface: those that arrive, after its XDP program, and those that leave."""

    def __init__(self, netns: Path, interface: str, address: IpAddress) -> None:
        """Keep only packets to `address`."""
        self._address = address.packed
        self._sock = inside(netns, lambda: self._open(interface))

    @staticmethod
    def _open(interface: str) -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        sock.bind((interface, 3))  # ETH_P_ALL
        return sock

    def heard(self) -> Iterator[Heard]:
        """What has come until now."""
        while True:
            try:
                frame, where = self._sock.recvfrom(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            packet = frame[_ETHERNET:]
            if len(packet) >= 40 and (packet[24:40] if packet[0] >> 4 == 6 else packet[16:20]) == self._address:
                yield Heard(packet, where[2] == socket.PACKET_OUTGOING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()


@contextmanager
def ears(places: Sequence[tuple[str, Path, str]], address: IpAddress) -> Iterator[Callable[[], dict[str, list[Heard]]]]:
    """Listen at (name, namespace, interface) places for packets to an address; names may stand several times."""
    opened: list[tuple[str, Ear]] = []
    try:
        for name, netns, interface in places:
            opened.append((name, Ear(netns, interface, address)))

        def listen() -> dict[str, list[Heard]]:
            found: dict[str, list[Heard]] = {}
            for name, ear in opened:
                found.setdefault(name, []).extend(ear.heard())
            return found

        yield listen
    finally:
        for _, ear in opened:
            ear.__exit__()
