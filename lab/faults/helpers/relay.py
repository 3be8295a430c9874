"""Holds frames for a while: `relay MARK TAP MS JITTER DEVICE...`.

What nft forwards to the TAP device that this program makes comes out of DEVICE so much later, with the mark `PASSED`,
in the order in which it came. Several pairs are given one after the other. Prints `ready` when the devices are there,
then goes on by itself until it is killed, and the TAP devices with it.
"""

import collections
import contextlib
import fcntl
import os
import random
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field

from lab.faults.helpers.background import go_on

PASSED = 0xFA17
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 2, 0x1000
_FRAME = 65_600
_MOST = 50_000  # frames that wait; what comes when so many do is lost
_BATCH = 64
_PRIORITY = 5  # SCHED_FIFO: a frame whose time has come waits for nobody


@dataclass
class Line:
    """One direction: what the TAP device `tap` gives goes to `out` after `delay` seconds, plus or minus `jitter`."""

    tap: int
    out: socket.socket
    delay: float
    jitter: float
    waiting: collections.deque[tuple[float, bytes]] = field(default_factory=collections.deque)

    def take(self, now: float) -> None:
        """Read what there is."""
        for _ in range(_BATCH):
            try:
                frame = os.read(self.tap, _FRAME)
            except BlockingIOError:
                return
            if len(self.waiting) < _MOST:
                due = now + self.delay + random.uniform(-self.jitter, self.jitter)
                last = self.waiting[-1][0] if self.waiting else due
                self.waiting.append((max(due, last), frame))

    def give(self, now: float) -> None:
        """Send what is due."""
        waiting = self.waiting
        while waiting and waiting[0][0] <= now:
            with contextlib.suppress(OSError):  # the device is down, or its queue full: lost, as on any link
                self.out.send(waiting.popleft()[1])


def main() -> None:
    """Make the devices, say so, hold and pass on."""
    milliseconds, jitter = float(sys.argv[2]), float(sys.argv[3])
    words = sys.argv[4:]
    lines = [
        Line(_tap(name), _socket(device), milliseconds / 1e3, jitter / 1e3)
        for name, device in zip(words[::2], words[1::2], strict=True)
    ]
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    os.write(1, b"ready\n")
    go_on()
    _run(lines)


def _run(lines: list[Line]) -> None:
    by_tap = {line.tap: line for line in lines}
    taps = list(by_tap)
    while True:
        dues = [line.waiting[0][0] for line in lines if line.waiting]
        pause = max(0.0, min(dues) - time.monotonic()) if dues else None
        ready, _, _ = select.select(taps, (), (), pause)  # to the microsecond, unlike epoll's milliseconds
        for tap in ready:
            by_tap[tap].take(time.monotonic())
        for line in lines:
            line.give(time.monotonic())


def _tap(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return descriptor


def _socket(device: str) -> socket.socket:
    """A packet socket whose frames carry the mark."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PASSED)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    made.bind((device, 0))
    return made


if __name__ == "__main__":
    main()
