"""Numbered datagrams to an echo service: `python -m lab.announce.packets ADDRESS PORT RATE FLOWS`, in a client.

It ends with the end of its input, waits a second for the last answers, and prints one JSON object: {"sent": N,
"lost": [CLOCK_MONOTONIC of each datagram whose echo never came], "longest": seconds of the slowest echo}.
"""

import json
import select
import socket
import sys
import time

_LAST = 1.0


class Sender:
    """Sends at an even rate from `flows` ports in turn; every datagram is echoed behind the backend's name."""

    def __init__(self, target: tuple[str, int], flows: int) -> None:
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(flows)]
        for sock in self._sockets:
            sock.setblocking(False)
            sock.connect(target)
        self._poll = select.poll()
        self._by_fd = {sock.fileno(): sock for sock in self._sockets}
        for descriptor in self._by_fd:
            self._poll.register(descriptor, select.POLLIN)
        self.sent: list[float] = []
        self._out: set[int] = set()
        self.longest = 0.0

    def send(self) -> None:
        """One datagram; what the kernel refuses to send is lost."""
        number = len(self.sent)
        self.sent.append(time.monotonic())
        self._out.add(number)
        try:
            self._sockets[number % len(self._sockets)].send(b"%d\n" % number)
        except OSError:
            return

    def receive(self, timeout: float) -> None:
        """Take what has come, waiting at most `timeout` seconds for the first of it."""
        for descriptor, _ in self._poll.poll(max(0.0, timeout) * 1000):
            try:
                while True:
                    self._answered(self._by_fd[descriptor].recv(2048))
            except BlockingIOError:
                continue
            except OSError:  # an ICMP error; the datagram it is about stays unanswered
                continue

    def _answered(self, data: bytes) -> None:
        number = int(data.split()[-1])
        if number in self._out:
            self._out.discard(number)
            self.longest = max(self.longest, time.monotonic() - self.sent[number])

    def report(self) -> dict[str, object]:
        """What became of all of them."""
        return {"sent": len(self.sent), "lost": [self.sent[n] for n in sorted(self._out)], "longest": self.longest}


def main() -> None:
    """Run until stdin ends."""
    address, port, rate, flows = sys.argv[1], *map(int, sys.argv[2:])
    sender = Sender((address, port), flows)
    ended = select.poll()
    ended.register(0, select.POLLIN | select.POLLHUP)
    due = time.monotonic()
    while not ended.poll(0):
        while due <= time.monotonic():
            sender.send()
            due += 1.0 / rate
        sender.receive(due - time.monotonic())
    until = time.monotonic() + _LAST
    while time.monotonic() < until:
        sender.receive(until - time.monotonic())
    sys.stdout.write(json.dumps(sender.report()) + "\n")


if __name__ == "__main__":
    main()
