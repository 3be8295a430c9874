"""The checker's side of the raw sockets: who waits for what comes in on them."""

import itertools
import os
import random
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from edge.checks import tunnel_packets as packets
from edge.checks.tunnel_packets import Answer
from edge.datapath.model import IpAddress

_BATCH = 64  # packets read at a time
_PACKET = 1 << 11
_READERS: Mapping[str, Callable[[str, bytes], Answer | None]] = {
    "tcp4": packets.read_segment,
    "tcp6": packets.read_segment,
    "icmp4": packets.read_echo,
    "icmp6": packets.read_echo,
}
_Key = tuple[str, IpAddress, int]


@dataclass(slots=True)
class Raw:
    """The raw sockets that were inherited, by name, and who waits for what comes in on them."""

    sockets: Mapping[str, socket.socket]
    _boxes: dict[_Key, tuple[int, list[Answer]]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(random.getrandbits(12)))

    def number(self) -> int:
        """The next source port, or identifier."""
        return packets.FIRST_PORT + next(self._numbers) % (1 << 12)

    def expect(self, key: _Key) -> tuple[int, list[Answer]]:
        """A descriptor that becomes readable with an answer, and where the answer is."""
        box: tuple[int, list[Answer]] = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), []
        self._boxes[key] = box
        return box

    def done(self, key: _Key) -> None:
        """Wait no more."""
        os.close(self._boxes.pop(key)[0])

    def collect(self, name: str) -> None:
        """Hand out what has come in on a socket. What nobody waits for is not ours."""
        made, family = self.sockets[name], name.rstrip("46")
        for _ in range(_BATCH):
            try:
                data, (source, *_) = made.recvfrom(_PACKET)
            except OSError:
                return
            # IPv4 raw sockets give the IP header too (raw(7)), IPv6 ones do not.
            start = (data[0] & 15) * 4 if name.endswith("4") and data else 0
            answer = _READERS[name](source, data[start:])
            box = self._boxes.get((family, answer.source, answer.number)) if answer else None
            if box and answer:
                box[1].append(answer)
                os.eventfd_write(box[0], 1)
