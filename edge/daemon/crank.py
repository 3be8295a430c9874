"""One turn of an edge node: from all that is known now to tables, announcements and heartbeats.

Every input of the daemon only changes what the node knows and asks for a turn; nothing is decided anywhere else.
"""

import time
from collections.abc import Callable, Mapping

from bgp.route import Prefix, Route
from bgp.speaker import Speaker
from edge.announcer.attributes import route_for
from edge.announcer.companions import Companions
from edge.config.digest import digest_for
from edge.daemon.notify import Notifier
from edge.datapath.addresses import is_single, network_of
from edge.datapath.model import IpAddress, IpNetwork, NextHop
from edge.decide.node import Node
from edge.install.forwarding import Forwarding, Wish
from edge.log.events import EventLog
from edge.policy.announce import Decision, Reason, Stance
from edge.policy.panic import Phase
from edge.policy.skew import Skew

PATIENCE = 2.0  # seconds to wait for the first next hops before the first tables are installed without them
STALE = 3.0  # seconds after which a change that the forwarder has not taken is a fault
LINGER = 1.0  # seconds a stopping node goes on forwarding after its withdrawal
_LEFT = {Reason.DRAINED, Reason.STOPPING}
_NOT_YET = {Reason.STARTING, Reason.SETTLING}


class Crank:
    """Turned by the daemon's work loop, and at once by whatever cannot wait."""

    def __init__(
        self,
        node: Node,
        events: EventLog,
        forwarding: Forwarding,
        speaker: Speaker,
        companions: Companions,
        wake: Callable[[], None],
    ) -> None:
        self._node, self._events, self._wake = node, events, wake
        self._forwarding, self._speaker, self._companions = forwarding, speaker, companions
        self._notifier = Notifier()
        self._began = time.monotonic()
        self._decisions: Mapping[IpNetwork, Decision] = {}
        self._panics: Mapping[str, Phase] = {}
        self._skew: Skew | None = None
        self._next_hops: Mapping[IpAddress, NextHop | None] = {}
        self._declared: Mapping[Prefix, Route | None] | None = None
        self._withdrawn_since: float | None = None
        self.neighbours_failure: Callable[[], BaseException | None] = lambda: None

    def turn(self) -> None:
        """Carry out what follows from all that is known now."""
        now, node = time.monotonic(), self._node
        self._watch_forwarder(now)
        node.set_others(self._companions.others(node.config.prefixes))
        node.set_carried(self._companions.carried(node.config.prefixes))
        before, self._decisions = self._decisions, node.decisions(now)
        decisions = self._decisions
        if node.surveyed and (self._reachable() or now - self._began > PATIENCE):
            told = {prefix for prefix, decision in decisions.items() if decision.stance is not Stance.WITHDRAWN}
            echo = frozenset(vip for vip in node.config.vips if network_of(vip) in told)
            self._forwarding.want(Wish(node.config, node.selections(), self._next_hops, echo))
        # Until there is something to say nothing is said: to routers that keep the routes of an ExaBGP before this one
        # (graceful restart), "all withdrawn" would be the end of them.
        if node.intent.node or node.fault or any(d.reason not in _NOT_YET for d in decisions.values()):
            self._announce({prefix: self._route(prefix, d.stance) for prefix, d in decisions.items()})
            self._notifier.say("READY=1")
        for prefix, decision in decisions.items():  # after the announcements, which a thousand lines would hold up
            self._log(prefix, before.get(prefix), decision)
        self._log_panics()
        self._log_skew()
        self._notifier.beat()

    def next_deadline(self) -> float | None:
        """When time alone changes something, monotonic seconds."""
        moments = [decision.until for decision in self._decisions.values() if decision.until]
        other = self._node.next_deadline()
        return min([*moments, other] if other is not None else moments, default=None)

    def has_left(self) -> bool:
        """Whether a stopping node has withdrawn everything and lingered."""
        now = time.monotonic()
        withdrawn = all(decision.stance is Stance.WITHDRAWN for decision in self._decisions.values())
        self._withdrawn_since = (self._withdrawn_since or now) if self._node.stopping and withdrawn else None
        return self._withdrawn_since is not None and now - self._withdrawn_since >= LINGER

    def stopping(self) -> None:
        """The node ends: tell systemd."""
        self._notifier.say("STOPPING=1")

    def next_hops(self, next_hops: Mapping[IpAddress, NextHop | None]) -> None:
        """How each backend is reached now."""
        self._next_hops = dict(next_hops)
        self._wake()

    def redeclare(self) -> None:
        """The speaker has a new configuration: say everything again at the next turn."""
        self._declared = None

    def fault(self, source: str, reason: str) -> None:
        """Something local keeps the forwarder from being trusted, or (an empty reason) no more."""
        before = self._node.fault
        if self._node.set_fault(source, reason):
            self._events.record("forwarder", before or "well", self._node.fault or "well", source)
            self._wake()

    def _reachable(self) -> bool:
        return bool(self._next_hops) and all(self._next_hops.values())

    def _route(self, prefix: IpNetwork, stance: Stance) -> Route | None:
        config = self._node.config
        return route_for(config.announcer, prefix, stance, digest_for(config, prefix))

    def _announce(self, routes: Mapping[Prefix, Route | None]) -> None:
        left = all(
            decision.stance is Stance.WITHDRAWN and decision.reason in _LEFT for decision in self._decisions.values()
        )
        if routes == self._declared:
            self._speaker.heartbeat()
        else:
            self._speaker.declare(routes)
            self._declared = routes
        self._companions.say(routes, left)
        if self._companions.holding:
            self._companions.settle(self._speaker.state().converged, time.monotonic())

    def _watch_forwarder(self, now: float) -> None:
        since = self._forwarding.behind_since
        late = since is not None and now - since > STALE
        self.fault("tables", f"the forwarder has not taken a change for {STALE:g} s" if late else "")
        broken = self.neighbours_failure()
        self.fault("next hops", f"nobody follows them any more: {broken}" if broken else "")
        lost = [a for a in self._forwarding.forwarder.attachments if a.mode is None]
        self.fault("interfaces", "; ".join(f"not attached to {a.interface}: {a.remark}" for a in lost))

    def _log(self, prefix: IpNetwork, old: Decision | None, new: Decision) -> None:
        if old is None or (old.stance, old.reason) != (new.stance, new.reason):
            before = old.stance.value if old else Stance.WITHDRAWN.value
            name = prefix.network_address if is_single(prefix) else prefix
            self._events.record(f"vip {name}", before, new.stance.value, new.reason.value)

    def _log_panics(self) -> None:
        before, self._panics = self._panics, self._node.panics
        for pool, phase in self._panics.items():
            old = before.get(pool, Phase.CALM)
            if phase is not old:
                self._events.record(f"pool {pool}", old.name.lower(), phase.name.lower(), phase.value)

    def _log_skew(self) -> None:
        before, self._skew = self._skew, self._node.skews.alarm
        if self._skew is not before:
            old, new = (each.name.lower() if each else "none" for each in (before, self._skew))
            self._events.record("skew", old, new, self._node.skews.reason or "what routers tell of others agrees")
