"""Captures the encapsulated packets that edges send back to their routers, as they arrive there."""

import ctypes
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from edge.datapath.model import Encap
from lab.observe.inside import inside
from lab.observe.sockets import Observer, packet_socket
from lab.observe.taps import Tap
from lab.observe.tunnel import IPV6_IN_IPV4, TunnelError, Tunnelled, parse_tunnel
from lab.runtime import LabError
from lab.traffic.flow import Flow

_ETH_P_IP = 0x0800
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_BUFFER = 16 << 20
_LARGEST = 65536
# Classic BPF (linux/filter.h): take the IPv4 protocol (byte 23 of the frame); whole frames of tunnels, nothing else.
_FILTER = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 23),  # ldb [23]
        (0x15, 2, 0, Encap.IPIP),  # jeq -> accept
        (0x15, 1, 0, IPV6_IN_IPV4),  # jeq -> accept
        (0x15, 0, 1, Encap.GRE),  # jeq -> accept, else drop
        (0x06, 0, 0, _LARGEST),
        (0x06, 0, 0, 0),
    )
)


@dataclass(frozen=True, slots=True)
class Captured:
    """One encapsulated packet, and the link it was seen on: `edge` sent it to `router`."""

    router: str
    edge: str
    packet: Tunnelled


@dataclass(slots=True)
class Capture:
    """What was seen, in the order it was read; `malformed` has a sentence for each tunnel that is no proper one."""

    packets: list[Captured] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)

    def backends(self) -> dict[Flow, set[tuple[IPv4Address, Encap]]]:
        """Where each flow was sent and how; more than one entry for a flow means that edges disagree."""
        found: dict[Flow, set[tuple[IPv4Address, Encap]]] = {}
        for each in self.packets:
            found.setdefault(each.packet.flow, set()).add((each.packet.backend, each.packet.encap))
        return found


class WireTap(Observer):
    """Packet sockets on the routers' side of the links to the edges; they collect from now until `close`.

    `netns`: router name -> its network namespace. Raises LabError. The sockets keep the namespaces alive: close it.
    """

    def __init__(self, netns: Mapping[str, Path], taps: Sequence[Tap]) -> None:
        self._taps: dict[int, tuple[socket.socket, Tap]] = {}
        with ExitStack() as opened:
            for tap in taps:
                sock = inside(netns[tap.router], partial(_open, tap, opened))
                self._taps[sock.fileno()] = (sock, tap)
            self._resources = opened.pop_all()

    def capture(self, seconds: float, limit: int, enough: Callable[[Capture], bool] | None = None) -> Capture:
        """Read for at most `seconds`, at most `limit` packets, and no longer than until `enough` says so."""
        capture, end = Capture(), time.monotonic() + seconds
        poll = select.poll()
        for descriptor in self._taps:
            poll.register(descriptor, select.POLLIN)
        while (rest := end - time.monotonic()) > 0 and not (enough and enough(capture)):
            for descriptor, _ in poll.poll(rest * 1000):
                if len(capture.packets) + len(capture.malformed) >= limit:
                    return capture
                self._take(descriptor, capture)
        return capture

    def _take(self, descriptor: int, capture: Capture) -> None:
        sock, tap = self._taps[descriptor]
        try:
            capture.packets.append(Captured(tap.router, tap.edge, parse_tunnel(sock.recv(_LARGEST))))
        except TunnelError as error:
            capture.malformed.append(f"{tap.edge} to {tap.router}: {error}")
        except OSError as error:
            raise LabError(f"{tap.router}: cannot read packets from {tap.interface}: {error.strerror}") from error


def _open(tap: Tap, opened: ExitStack) -> socket.socket:
    program = ctypes.create_string_buffer(_FILTER, len(_FILTER))
    head = struct.pack("HP", len(_FILTER) // 8, ctypes.addressof(program))  # struct sock_fprog
    options = (_SO_ATTACH_FILTER, head), (_SO_RCVBUFFORCE, _BUFFER)
    try:
        # Bound to one protocol it hears arrivals only.
        return packet_socket(opened, tap.interface, _ETH_P_IP, *options)
    except OSError as error:
        raise LabError(f"{tap.router}: cannot capture on {tap.interface}: {error.strerror}") from error
