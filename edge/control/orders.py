"""The verbs that change the operator's intent: drain, undrain, blackhole, unblackhole. Each change is stored first.

Every change is logged with the uid that asked, and carried out before the answer is sent.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edge import maglev
from edge.config.findings import is_number
from edge.control.ask import Answer, RefusedError
from edge.control.intent_store import now_stamp
from edge.control.served import REFUSED, USAGE, Served
from edge.control.server import Handler
from edge.datapath.addresses import is_single
from edge.datapath.model import IpNetwork
from edge.decide.intent import Drain, Intent, IntentError
from edge.native import maglev as native
from edge.policy.announce import Stance
from edge.text.decode import nearest
from edge.text.scalars import vip_of

_LONGEST = 366 * 86400.0  # seconds; an order for longer has no end


class Orders:
    """The intent of one daemon, changed one request at a time."""

    def __init__(self, daemon: Served) -> None:
        self._daemon = daemon
        self._changing = asyncio.Lock()  # a drain reads the intent, waits for tables, and only then stores

    def table(self) -> Mapping[str, Handler]:
        """Verb -> handler."""
        return {
            "drain": self._one_by_one(
                {"node": self._drain_node, "backend": self._drain_backend, "vip": self._drain_vip}
            ),
            "undrain": self._one_by_one(
                {"node": self._undrain_node, "backend": self._undrain_backend, "vip": self._undrain_vip}
            ),
            "blackhole": self._one_by_one({"vip": self._blackhole}),
            "unblackhole": self._one_by_one({"vip": self._unblackhole}),
        }

    def _one_by_one(self, kinds: Mapping[str, Handler]) -> Handler:
        async def locked(request: Mapping[str, Any], uid: int) -> Answer:
            handler = kinds.get(str(request.get("kind")))
            if handler is None:
                raise RefusedError(f"kind is '{request.get('kind')}': expected {' or '.join(kinds)}", USAGE)
            async with self._changing:
                return await handler(request, uid)

        return locked

    def end(self, intent: Intent) -> None:
        """Take orders out whose time is over. Raises RefusedError where that cannot be stored."""
        self._store(intent, "the time of an order is over")

    async def _drain_node(self, request: Mapping[str, Any], uid: int) -> Answer:
        node = self._daemon.node
        self._check_node_name(request.get("name"))
        drain = _order(request, uid, node.intent.node)
        untold = self._guard(tuple(node.config.prefixes), drain.forced)
        self._store(node.intent.with_node(drain), f"drain node by uid {uid}")
        return {"node": node.config.node, "untold": untold, **self._quiet(drain)}

    async def _drain_vip(self, request: Mapping[str, Any], uid: int) -> Answer:
        intent, prefix = self._daemon.node.intent, self._known_vip(request.get("name"))
        drain = _order(request, uid, intent.vips.get(str(prefix)))
        untold = self._guard((prefix,), drain.forced)
        self._store(intent.with_vip(str(prefix), drain), f"drain vip {_shown(prefix)} by uid {uid}")
        return {"vip": str(prefix), "untold": untold, **self._quiet(drain)}

    def _quiet(self, drain: Drain) -> Answer:
        settings = self._daemon.node.config.drain
        packets = {"quiet_packets": settings.quiet_packets, "quiet_for": settings.quiet_for}
        return {"at": time.monotonic(), "until": drain.until, **packets}

    async def _drain_backend(self, request: Mapping[str, Any], uid: int) -> Answer:
        node = self._daemon.node
        name = self._known_backend(request.get("name"))
        intent = node.intent.with_backend(name, _order(request, uid, node.intent.backends.get(name)))
        moving = await asyncio.to_thread(self._slots_moving, intent)
        if not request.get("force") and name not in node.intent.backends:
            self._refuse_to_empty_a_pool(name, intent)
        self._store(intent, f"drain backend {name} by uid {uid}")
        return {"slots_moving": moving, "table_size": node.config.hashing.table_size, "at": time.monotonic()}

    async def _undrain_node(self, request: Mapping[str, Any], uid: int) -> Answer:
        self._check_node_name(request.get("name"))
        self._store(self._daemon.node.intent.with_node(None), f"undrain node by uid {uid}")
        return {"at": time.monotonic()}

    async def _undrain_backend(self, request: Mapping[str, Any], uid: int) -> Answer:
        name, standing = str(request.get("name")), self._daemon.node.intent.backends
        return self._take_back("backend", name, standing, self._daemon.node.intent.with_backend, uid)

    async def _undrain_vip(self, request: Mapping[str, Any], uid: int) -> Answer:
        intent = self._daemon.node.intent
        return self._take_back("vip", str(self._known_vip(request.get("name"))), intent.vips, intent.with_vip, uid)

    async def _blackhole(self, request: Mapping[str, Any], uid: int) -> Answer:
        """RFC 7999: for one address of ours, by hand, with a reason; never something that follows from a check."""
        intent, prefix = self._daemon.node.intent, self._known_vip(request.get("name"))
        if not is_single(prefix):
            raise RefusedError(f"{prefix} is more than one address: expected a /32 or /128", USAGE)
        if not str(request.get("reason", "")).strip():
            raise RefusedError("a blackhole needs a reason: --reason TEXT", USAGE)
        order = _order(request, uid, intent.blackholes.get(str(prefix)))
        what = f"blackhole vip {_shown(prefix)} by uid {uid}: {order.reason}"
        self._store(intent.with_blackhole(str(prefix), order), what)
        return {"vip": str(prefix), "until": order.until, "at": time.monotonic()}

    async def _unblackhole(self, request: Mapping[str, Any], uid: int) -> Answer:
        intent, name = self._daemon.node.intent, str(self._known_vip(request.get("name")))
        return self._take_back("vip", name, intent.blackholes, intent.with_blackhole, uid, "blackholed", "unblackhole")

    def _take_back(
        self,
        kind: str,
        name: str,
        standing: Mapping[str, Drain],
        without: Callable[[str, Drain | None], Intent],
        uid: int,
        state: str = "drained",
        verb: str = "undrain",
    ) -> Answer:
        if name not in standing:
            raise RefusedError(f"{kind} '{name}' is not {state}{nearest(name, list(standing))}", USAGE)
        self._store(without(name, None), f"{verb} {kind} {name} by uid {uid}")
        return {kind: name, "at": time.monotonic()}

    def _guard(self, prefixes: tuple[IpNetwork, ...], forced: bool) -> list[str]:
        """Refuse to take the last announcement of a prefix away; returns the prefixes of which nobody can tell."""
        node = self._daemon.node
        announced = {
            p for p, decision in node.decisions(time.monotonic()).items() if decision.stance is Stance.ANNOUNCED
        }
        known = {prefix: node.others(prefix) for prefix in prefixes if prefix in announced}
        last = [_shown(prefix) for prefix, others in known.items() if others is not None and not others.staying]
        if last and not forced:
            message = f"no router knows another node that announces {', '.join(last)}; --force does it"
            raise RefusedError(message, REFUSED)
        return [str(prefix) for prefix, others in known.items() if others is None]

    def _store(self, intent: Intent, what: str) -> None:
        try:
            self._daemon.store.save(intent)
        except IntentError as error:
            raise RefusedError(str(error), 1) from None
        self._daemon.events.record("intent", "standing", "changed", what)
        self._daemon.node.set_intent(intent, time.monotonic(), time.time())
        self._daemon.turn()

    def _check_node_name(self, name: Any) -> None:
        own = self._daemon.node.config.node
        if name is not None and name != own:
            raise RefusedError(f"this node is '{own}', not '{name}': ask on that node", USAGE)

    def _known_vip(self, name: Any) -> IpNetwork:
        """The vip_prefix that an address or a prefix names."""
        known = {_shown(prefix): prefix for prefix in self._daemon.node.config.prefixes}
        try:
            wanted = str(vip_of(name))
        except ValueError as error:
            raise RefusedError(f"vip is {name!r}: {error}", USAGE) from None
        if wanted not in known:
            raise RefusedError(f"no vip is called '{wanted}'{nearest(wanted, list(known))}", USAGE)
        return known[wanted]

    def _known_backend(self, name: Any) -> str:
        names = sorted({backend for _, backend in self._daemon.node.health})
        if name not in names:
            raise RefusedError(f"no backend is called '{name}'{nearest(str(name), names)}", USAGE)
        return str(name)

    def _refuse_to_empty_a_pool(self, name: str, intent: Intent) -> None:
        node = self._daemon.node
        selections = node.selections(intent)
        for pool, entry in node.config.pools.items():
            concerned = any(backend.name == name for backend in entry.backends)
            if concerned and selections[pool].panic:
                raise RefusedError(f"pool '{pool}' would have no active backend left; --force does it", REFUSED)

    def _slots_moving(self, intent: Intent) -> dict[str, int]:
        """Slots per pool that change their owner when `intent` is carried out."""
        daemon = self._daemon
        applied = daemon.forwarding.applied
        size = daemon.node.config.hashing.table_size
        moving = {}
        for name, selection in daemon.node.selections(intent).items():
            after = native.build(selection.members, size)
            before = applied.tables.get(name) if applied else None
            if before and (moved := maglev.moved(before, after)):
                moving[name] = moved
        return moving


def _order(request: Mapping[str, Any], uid: int, standing: Drain | None) -> Drain:
    """The order that a request gives; one that stands already keeps its beginning."""
    lasts = request.get("for")
    if lasts is not None and not (is_number(lasts) and 0 < lasts <= _LONGEST):  # no comparison holds for NaN
        raise RefusedError(f"for is {lasts!r}: expected seconds, above 0 and at most {_LONGEST:g}", USAGE)
    until = None if lasts is None else time.time() + lasts
    forced = bool(request.get("force"))
    if standing is not None:
        return replace(standing, until=until if until is not None else standing.until, forced=standing.forced or forced)
    return Drain(now_stamp(), uid, str(request.get("reason", ""))[:200], until, forced)


def _shown(prefix: IpNetwork) -> str:
    return str(prefix.network_address) if is_single(prefix) else str(prefix)
