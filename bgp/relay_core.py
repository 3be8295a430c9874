"""The relay's rules, without I/O: leases in, commands to ExaBGP out.

A ring of watchers: the lease watches the daemon, the relay watches ExaBGP's answers, the daemon watches the relay.
`now` is CLOCK_MONOTONIC in seconds. The shell feeds what it read before it lets time pass, so that a relay that
was stopped for a while does not blame others for its own absence.
"""

import enum
from collections import deque
from collections.abc import Iterable
from typing import Final

from bgp import exabgp_api as api
from bgp.lease import LeaseTable
from bgp.rib import AdjRibOut
from bgp.route import Address, Prefix, Route
from bgp.wire import Declare, LineBuffer, PeerView, State, decode_declare, encode_state

BATCH: Final = 50
"""Changes written at once: what a withdrawal may have to wait for, about 30 ms of ExaBGP's time for IPv4."""
ACK_LIMIT: Final = 2.0
"""Seconds without an answer after which ExaBGP counts as hung."""
PING_EVERY: Final = 0.25
BEAT_EVERY: Final = 0.25
"""Seconds between two signs of life, towards ExaBGP and towards the daemon."""


class Waiting(enum.Enum):
    """What the outstanding answers belong to."""

    NOTHING = enum.auto()
    ROUTES = enum.auto()
    PEERS = enum.auto()
    BARRIER = enum.auto()
    OTHER = enum.auto()


class RelayCore:
    """One relay's life. A new relay knows nothing, so it first withdraws every prefix it was given.

    With graceful restart (RFC 4724) `patience` is not None: for so many seconds it says nothing before it has heard of
    a daemon, as routers hold the routes of the session before, and each peer is told the End-of-RIB once it has heard
    everything, which takes away what was not announced again.
    """

    def __init__(self, prefixes: Iterable[Prefix], now: float, patience: float | None = None) -> None:
        self._rib = AdjRibOut(prefixes)
        self._leases = LeaseTable()
        self._acks = api.AckClock(ACK_LIMIT)
        self._routes: dict[Prefix, Route] = {}
        self._peers: dict[Address, PeerView] = {}
        self._waiting = Waiting.NOTHING
        self._commands: deque[api.Command] = deque()  # that have not been answered in full
        self._answers = 0  # to lines of the oldest of them
        self._refused = False  # one of those answers was an error
        self._barrier_due = False
        self._neighbors_due = True
        self._withdraw_again = False
        self._say_again = False
        self._told: frozenset[Address] | None = None  # peers that ExaBGP had when it was told what it knows
        self._generation = 0
        self._resend_due = False
        self._graceful = patience is not None
        self._quiet_until = now + (patience or 0.0)
        self._unended: set[Address] = set()  # peers that are owed an End-of-RIB
        self._seq = 0
        self._heard = False  # of any daemon, ever
        self._connected = False
        self._shown: int | None = None  # the version of the prefixes that the daemon was told last
        self._from_daemon = LineBuffer()
        self._from_exabgp = LineBuffer()
        self._ping_at = now
        self._beat_at = now
        self.abort: str | None = None
        """Why this relay must not go on: the shell kills ExaBGP, which closes the sessions, and ends."""

    def daemon_connected(self, now: float) -> None:
        """A daemon answers the socket; it is owed the state at once."""
        self._connected, self._from_daemon, self._beat_at, self._seq = True, LineBuffer(), now, 0
        self._shown = None

    def daemon_lost(self) -> None:
        """The daemon's connection ended. Its leases go on: a restarted daemon may renew them in time."""
        self._connected = False

    def daemon_data(self, data: bytes, now: float) -> None:
        """Bytes from the daemon. Raises WireError: drop the connection; the leases run out by themselves."""
        for line in self._from_daemon.feed(data):
            self._declared(decode_declare(line), now)

    def _declared(self, message: Declare, now: float) -> None:
        self._routes = {}
        for prefix in self._leases.held():
            if message.routes.get(prefix) is None:
                self._leases.end(prefix)
        for prefix, entry in message.routes.items():
            if entry is not None:
                self._routes[prefix], until = entry
                self._leases.renew(prefix, until, now)
        if message.generation != self._generation:
            self._generation, self._told = message.generation, frozenset()
        self._seq, self._beat_at, self._heard = message.seq, now, True
        self._apply_leases(now)

    def _apply_leases(self, now: float) -> None:
        self._leases.expire(now)
        held = self._leases.held()
        self._rib.declare({p: route if p in held else None for p, route in self._routes.items()})

    def exabgp_data(self, data: bytes, now: float) -> None:
        """Bytes from ExaBGP. Raises WireError for a line without end."""
        for line in self._from_exabgp.feed(data):
            event = api.decode(line)
            match event:
                case api.Done() | api.Refused():
                    self._answer(isinstance(event, api.Done), now)
                case api.PeerChange(address, up, reason):
                    self._peer(address, up, reason, now)
                case api.Neighbors(peers):
                    self._told = frozenset(address for address, _ in peers)
                    for address, up in peers:
                        self._peer(address, up, "", now)

    def _answer(self, done: bool, now: float) -> None:
        if not self._acks.answered(now):
            self.abort = "ExaBGP answered more commands than it was given"
        elif self._waiting is Waiting.ROUTES:
            self._route_answer(done, now)
        elif not done and self._waiting is not Waiting.PEERS:  # these are refused when a session has closed meanwhile
            self.abort = "ExaBGP refused a command without a route"
        if self._acks.owed == 0:
            self._barrier_due = self._barrier_due or self._waiting is Waiting.ROUTES
            if self._waiting is Waiting.BARRIER:
                self._beat_at = now
            self._waiting = Waiting.NOTHING

    def _route_answer(self, done: bool, now: float) -> None:
        """A command's changes count as taken when each of its lines was."""
        self._refused = self._refused or not done
        self._answers += 1
        if self._answers < len(self._commands[0].lines):
            return
        for _ in range(self._commands.popleft().changes):
            change = self._rib.refused(now) if self._refused else self._rib.acked()
            # A peer named in a withdrawal may be gone from the configuration; one for all peers has no such excuse.
            if self._refused and change.route is None and not api.names_peers(change):
                self.abort = f"ExaBGP refused to withdraw {change.prefix}"
        self._answers, self._refused, self._beat_at = 0, False, now

    def _peer(self, address: Address, up: bool, reason: str, now: float) -> None:
        known = self._peers.get(address)
        if known is not None and known.up == up:
            return
        self._peers[address] = PeerView(up, now, reason)
        self._beat_at = now
        self._unended.discard(address)
        if up:
            # ExaBGP opens a session with announcements only, in an order of its own: say it all again after that.
            self._barrier_due = self._withdraw_again = self._resend_due = True
            self._say_again = self._say_again or (self._told is not None and address not in self._told)
            self._told = self._told if self._told is None else self._told | {address}
            self._unended |= {address} if self._graceful else set()

    def exabgp_output(self, now: float) -> bytes:
        """What to write next; ask only when the last bytes are written. Empty while answers are owed."""
        if self._acks.owed:
            return b""
        data, commands, waiting = self._next(now)
        if commands:
            self._acks.sent(commands, now)
            self._waiting, self._ping_at = waiting, now + PING_EVERY
        return data

    def _next(self, now: float) -> tuple[bytes, int, Waiting]:
        if self._barrier_due:
            self._barrier_due = False
            return api.BARRIER, 1, Waiting.BARRIER
        if self._is_quiet(now):
            return self._ping(now)
        if self._withdraw_again:
            self._withdraw_again = False
            self._rib.forget_withdrawn()
        if self._say_again:
            self._say_again = False
            self._rib.forget_all()
        if batch := self._rib.next_batch(BATCH, now):
            self._commands.extend(commands := api.encode_batch(batch))
            self._answers = 0
            lines = [line for command in commands for line in command.lines]
            return b"".join(lines), len(lines), Waiting.ROUTES
        if self._resend_due:
            self._resend_due = False
            return api.RESEND, 1, Waiting.PEERS
        if self._unended:
            versions = {prefix.version for prefix in self._rib.prefixes()}
            ends, self._unended = api.end_of_rib(self._unended, versions), set()
            return b"".join(ends), len(ends), Waiting.PEERS
        return self._ping(now)

    def _is_quiet(self, now: float) -> bool:
        return now < self._quiet_until and not self._heard

    def _ping(self, now: float) -> tuple[bytes, int, Waiting]:
        if self._neighbors_due:
            self._neighbors_due = False
            return api.NEIGHBORS, 1, Waiting.OTHER
        if now >= self._ping_at:
            return api.BARRIER, 1, Waiting.OTHER
        return b"", 0, Waiting.NOTHING

    def daemon_output(self, now: float) -> bytes:
        """The state for the daemon if it is due, else nothing; ask only when the last bytes are written."""
        if not self._connected or now < self._beat_at:
            return b""
        self._beat_at = now + BEAT_EVERY
        repeat, self._shown = self._shown != self._rib.version, self._rib.version
        return encode_state(self.state(), repeat)

    def state(self) -> State:
        """All the relay knows."""
        unsettled = self._barrier_due or self._withdraw_again or self._say_again or self._waiting is Waiting.BARRIER
        converged = self._rib.converged and not unsettled
        return State(self._seq, converged, self.abort, self._rib.view(), dict(self._peers))

    def handle_timer(self, now: float) -> None:
        """Let time pass: leases end, answers become overdue."""
        deadline = self._leases.next_deadline()
        if deadline is not None and deadline <= now:
            self._apply_leases(now)
            self._beat_at = now
        if self._acks.overdue(now):
            self.abort = f"ExaBGP has not answered for {ACK_LIMIT} s"

    def next_deadline(self, daemon_writable: bool) -> float:
        """When there is something to do without new input; the state waits while the daemon reads nothing."""
        times = [self._leases.next_deadline(), self._acks.next_deadline()]
        times.append(self._beat_at if self._connected and daemon_writable else None)
        if not self._acks.owed:
            times += [self._ping_at, self._rib.next_deadline()]
        return min(time for time in times if time is not None)
