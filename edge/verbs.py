"""What the daemon answers on its control socket, verb by verb. Every change is logged with the uid that asked."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from bgp.speaker import Speaker
from edge import maglev, status
from edge.ask import Answer, RefusedError
from edge.control import Handler
from edge.datapath import oracle, xdp
from edge.datapath.blocklist import BlockList
from edge.datapath.bpf_error import BpfError
from edge.datapath.model import ForwarderState, IpAddress
from edge.datapath.next_hop import Finding
from edge.datapath.outcome import Choice
from edge.decode import nearest
from edge.events import EventLog
from edge.forwarding import Forwarding
from edge.intent import Drain, Intent, IntentError
from edge.intent_store import IntentStore, now_stamp
from edge.native import maglev as native
from edge.node import Node
from edge.plan import PoolView, select
from edge.strictyaml import ConfigError
from edge.why import FiveTuple, FlowError, describe, frame, parse_flow, path
from edge.why import Path as PacketPath

_USAGE, _REFUSED, _CONFIG = 2, 5, 78
_WHY_TRIES, _WHY_PAUSE = 20, 0.05  # seconds between tries


class Served(Protocol):
    """What the verbs need of a daemon."""

    node: Node
    store: IntentStore
    events: EventLog
    forwarding: Forwarding
    speaker: Speaker

    @property
    def findings(self) -> Mapping[IpAddress, Finding]:
        """How each backend's address is reached, or why it is not."""

    @property
    def blocked(self) -> BlockList | None:
        """The block list that is in force."""

    def turn(self) -> None:
        """Carry out at once what a change of intent asks for."""

    async def reload(self) -> str:
        """Read the configuration file again; names what changed. Raises ConfigError or OSError."""


class Verbs:
    """The verbs of one daemon, which runs the configuration file `config`."""

    def __init__(self, daemon: Served, config: Path) -> None:
        self._daemon = daemon
        self._config = config
        self._changing = asyncio.Lock()  # a drain reads the intent, waits for tables, and only then stores

    def table(self) -> Mapping[str, Handler]:
        """Verb -> handler."""
        return {
            "status": self._status,
            "drain": self._one_by_one(self._drain),
            "undrain": self._one_by_one(self._undrain),
            "why": self._why,
            "reload": self._reload,
        }

    def _one_by_one(self, handler: Handler) -> Handler:
        async def locked(request: Mapping[str, Any], uid: int) -> Answer:
            async with self._changing:
                return await handler(request, uid)

        return locked

    async def _status(self, _: Mapping[str, Any], __: int) -> Answer:
        daemon, forwarding = self._daemon, self._daemon.forwarding
        applied = forwarding.applied
        forwarder = status.ForwarderView(
            modes={a.interface: a.mode.value if a.mode else a.remark for a in forwarding.forwarder.attachments},
            tables=applied.tables if applied else {},
            generation=applied.state.generation if applied else 0,
            current=forwarding.current,
            counters=await asyncio.to_thread(forwarding.forwarder.counters),
            findings=daemon.findings,
            blocked=daemon.blocked,
            remarks={a.interface: a.remark for a in forwarding.forwarder.attachments if a.mode and a.remark},
            hits=await asyncio.to_thread(forwarding.forwarder.block_hits) if daemon.blocked else {},
        )
        return status.facts(daemon.node, forwarder, daemon.speaker.state(), daemon.events.last, time.monotonic())

    async def _drain(self, request: Mapping[str, Any], uid: int) -> Answer:
        node = self._daemon.node
        drain = Drain(now_stamp(), uid, str(request.get("reason", ""))[:200])
        if request.get("kind") == "node":
            self._check_node_name(request.get("name"))
            self._store(node.intent.with_node(node.intent.node or drain), f"drain node by uid {uid}")
            settings = node.config.drain
            return {
                "node": node.config.node,
                "at": time.monotonic(),
                "quiet_packets": settings.quiet_packets,
                "quiet_for": settings.quiet_for,
            }
        name = self._known_backend(request.get("name"))
        intent = node.intent.with_backend(name, node.intent.backends.get(name, drain))
        moving = await asyncio.to_thread(self._slots_moving, intent)
        if not request.get("force") and name not in node.intent.backends:
            self._refuse_to_empty_a_pool(name, intent)
        self._store(intent, f"drain backend {name} by uid {uid}")
        return {"slots_moving": moving, "table_size": node.config.hashing.table_size, "at": time.monotonic()}

    async def _undrain(self, request: Mapping[str, Any], uid: int) -> Answer:
        node = self._daemon.node
        if request.get("kind") == "node":
            self._check_node_name(request.get("name"))
            self._store(node.intent.with_node(None), f"undrain node by uid {uid}")
        else:
            name = str(request.get("name"))
            if name not in node.intent.backends:
                drained = list(node.intent.backends)
                raise RefusedError(f"backend '{name}' is not drained{nearest(name, drained)}", _USAGE)
            self._store(node.intent.with_backend(name, None), f"undrain backend {name} by uid {uid}")
        return {"at": time.monotonic()}

    async def _why(self, request: Mapping[str, Any], _: int) -> Answer:
        forwarding = self._daemon.forwarding
        try:
            flow = parse_flow(str(request.get("source")), str(request.get("destination")))
        except FlowError as error:
            raise RefusedError(str(error), _USAGE) from None
        for _ in range(_WHY_TRIES):
            if (applied := forwarding.applied) is None:
                raise RefusedError("no table is loaded yet", 1)
            by_oracle, by_program, choice = await self._paths(flow, applied.state)
            # While a change is being written the two may speak of different tables: that is no difference.
            if by_oracle == by_program or (forwarding.current and forwarding.applied is applied):
                return describe(flow, applied.state, by_oracle, by_program, choice)
            await asyncio.sleep(_WHY_PAUSE)
        raise RefusedError("the tables change too fast to answer: ask again", 1)

    async def _paths(self, flow: FiveTuple, state: ForwarderState) -> tuple[PacketPath, PacketPath, Choice | None]:
        """What becomes of a packet of `flow` that arrives on the first interface, by the oracle and by the program."""
        forwarder = self._daemon.forwarding.forwarder
        arrival = forwarder.attachments[0]
        try:
            mac = xdp.mac_address(arrival.interface)
        except (BpfError, OSError) as error:
            raise RefusedError(f"{arrival.interface}: {error}", 1) from None
        packet = frame(flow, mac)
        trace = await asyncio.to_thread(forwarder.run, packet, arrival.ifindex)
        outcome = oracle.judge(packet, arrival.ifindex, state, {arrival.ifindex: mac}, blocked=self._daemon.blocked)
        return (
            path(outcome.verdict.name.lower(), outcome.reason.label, outcome.frame, outcome.notes),
            path(trace.verdict.name.lower(), trace.reason.label, trace.frame, trace.notes),
            outcome.choice,
        )

    async def _reload(self, _: Mapping[str, Any], __: int) -> Answer:
        try:
            return {"file": str(self._config), "changes": await self._daemon.reload()}
        except ConfigError as error:
            raise RefusedError(f"the file has errors, the old configuration goes on:\n{error}", _CONFIG) from None
        except (OSError, UnicodeDecodeError) as error:
            raise RefusedError(f"{self._config}: {error}", _CONFIG) from None

    def _store(self, intent: Intent, what: str) -> None:
        try:
            self._daemon.store.save(intent)
        except IntentError as error:
            raise RefusedError(str(error), 1) from None
        self._daemon.events.record("intent", "standing", "changed", what)
        self._daemon.node.set_intent(intent, time.monotonic())
        self._daemon.turn()

    def _check_node_name(self, name: Any) -> None:
        own = self._daemon.node.config.node
        if name is not None and name != own:
            raise RefusedError(f"this node is '{own}', not '{name}': ask on that node", _USAGE)

    def _known_backend(self, name: Any) -> str:
        names = sorted({backend for _, backend in self._daemon.node.health})
        if name not in names:
            raise RefusedError(f"no backend is called '{name}'{nearest(str(name), names)}", _USAGE)
        return str(name)

    def _refuse_to_empty_a_pool(self, name: str, intent: Intent) -> None:
        node = self._daemon.node
        for pool, entry in node.config.pools.items():
            concerned = any(backend.name == name for backend in entry.backends)
            view = PoolView(node.view(pool).down, frozenset(intent.backends))
            if concerned and select(entry, view).panic:
                raise RefusedError(f"pool '{pool}' would have no active backend left; --force does it", _REFUSED)

    def _slots_moving(self, intent: Intent) -> dict[str, int]:
        """Slots per pool that change their owner when `intent` is carried out."""
        daemon = self._daemon
        applied = daemon.forwarding.applied
        size = daemon.node.config.hashing.table_size
        moving = {}
        for name, pool in daemon.node.config.pools.items():
            down = daemon.node.view(name).down
            after = native.build(select(pool, PoolView(down, frozenset(intent.backends))).members, size)
            before = applied.tables.get(name) if applied else None
            if before and (moved := maglev.moved(before, after)):
                moving[name] = moved
        return moving
