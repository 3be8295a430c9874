"""What ExaBGP 5.0.15 does with its children's commands, as measured: its queue has an order of its own.

Pending changes of a peer are filed by their attributes, and leave in the order in which the attribute sets first came
up. The first queue of a session loses its withdrawals. Answers to comments overtake answers to routes.
"""

import json
from collections import deque
from dataclasses import dataclass, field

Attributes = str
"""Everything after the prefix, next hop included."""


@dataclass
class Peer:
    """One router and ExaBGP's queue towards it; `table` is what the router holds."""

    address: str
    up: bool = False
    opening: bool = False
    table: dict[str, Attributes] = field(default_factory=dict)
    pending: dict[Attributes, dict[str, bool]] = field(default_factory=dict)
    cache: dict[str, Attributes] = field(default_factory=dict)
    refresh: bool = False
    busy: int = 0

    def change(self, prefix: str, attributes: Attributes, announce: bool) -> None:
        if announce and self.cache.get(prefix) == attributes:
            return
        self.pending.setdefault(attributes, {})[prefix] = announce
        if announce:
            self.cache[prefix] = attributes
        else:
            self.cache.pop(prefix, None)

    def flush(self) -> None:
        if not self.up:
            return
        if self.busy:  # a session's first turns may end with its first keepalive
            self.busy -= 1
            return
        if self.refresh:
            self.refresh = False
            self.table.update(self.cache)
        if not self.pending:
            return
        for attributes, changes in self.pending.items():
            for prefix, announce in changes.items():
                if announce:
                    self.table[prefix] = attributes
                elif not self.opening:
                    self.table.pop(prefix, None)
        self.pending, self.opening = {}, False

    def open(self) -> None:
        self.up = self.opening = True
        self.busy = 2
        for prefix, attributes in self.cache.items():
            self.pending.setdefault(attributes, {})[prefix] = True

    def close(self) -> None:
        self.up, self.table, self.pending, self.refresh = False, {}, {}, False


class ExaBGP:
    """One process: `write` its stdin, `turn` its loop, `read` its answers."""

    def __init__(self, *addresses: str) -> None:
        self.peers = [Peer(address) for address in addresses]
        self.commands: list[str] = []
        self.refuse = 0
        self._inbox = b""
        self._queue: deque[str] = deque()
        self._out: list[str] = []

    def write(self, data: bytes) -> None:
        self._inbox += data

    def read(self) -> bytes:
        out, self._out = self._out, []
        return "".join(f"{line}\n" for line in out).encode()

    def open(self, peer: Peer) -> None:
        if not peer.up:
            peer.open()
            self._say(peer, "up")

    def close(self, peer: Peer) -> None:
        if peer.up:
            peer.close()
            self._say(peer, "down")

    def _say(self, peer: Peer, state: str) -> None:
        neighbor = {"address": {"local": "127.0.0.1", "peer": peer.address}, "state": state}
        self._out.append(json.dumps({"exabgp": "5.0.0", "type": "state", "neighbor": neighbor}))

    def turn(self) -> None:
        """One turn: queues leave, then commands are read, then those that were scheduled run."""
        for peer in self.peers:
            peer.flush()
        *lines, self._inbox = self._inbox.split(b"\n")
        for line in lines:
            if line == b"#":
                self._out.append("done")
            else:
                self._queue.append(line.decode())
        while self._queue:
            self._run(self._queue.popleft())

    def _run(self, command: str) -> None:
        self.commands.append(command)
        if command == "show neighbor json":
            fsm = {True: "ESTABLISHED", False: "IDLE"}
            self._out.append(json.dumps([{"peer": {"address": p.address}, "fsm": fsm[p.up]} for p in self.peers]))
        elif command == "flush adj-rib out":
            for peer in self.peers:
                peer.refresh = peer.refresh or peer.up
            if not any(peer.up for peer in self.peers):
                self._out.append("error")
                return
        elif " announce eor " in command:
            if not any(peer.up and f" {peer.address} " in command for peer in self.peers):
                self._out.append("error")
                return
        elif self.refuse and "announce" in command:
            self.refuse -= 1
            self._out.append("error")
            return
        elif not self._route(command):
            self._out.append("error")
            return
        self._out.append("done")

    def _route(self, command: str) -> bool:
        """Whether there is a peer for `[neighbor PEER] announce|withdraw route PREFIX ATTRIBUTES`.

        Or for `... attributes ATTRIBUTES nlri PREFIXES`.
        """
        peers = self.peers
        if command.startswith("neighbor "):
            _, address, command = command.split(" ", 2)
            peers = [peer for peer in peers if peer.address == address]
        verb, form, *rest = command.split(" ")
        if form == "attributes":
            cut = rest.index("nlri")
            attributes, prefixes = rest[:cut], rest[cut + 1 :]
        else:
            prefixes, attributes = rest[:1], rest[1:]
        for prefix in prefixes:
            assert ":" not in prefix or "self" not in attributes, "next-hop self of another family raises in ExaBGP"
            for peer in peers:
                peer.change(prefix, " ".join(attributes), verb == "announce")
        return bool(peers)
