"""What the daemon answers on its control socket, verb by verb; `control.orders` has those that change the intent."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from edge.control.ask import Answer, RefusedError
from edge.control.orders import Orders
from edge.control.served import CONFIG, USAGE, Served
from edge.control.server import Handler
from edge.control.showing import Showing
from edge.datapath import oracle, xdp
from edge.datapath.bpf_error import BpfError
from edge.datapath.model import ForwarderState
from edge.datapath.outcome import Choice
from edge.show import status
from edge.show.why import FiveTuple, FlowError, describe, frame, parse_flow, path
from edge.show.why import Path as PacketPath
from edge.text.strictyaml import ConfigError

_WHY_TRIES, _WHY_PAUSE = 20, 0.05  # seconds between tries


class Verbs:
    """The verbs of one daemon, which runs the configuration file `config`."""

    def __init__(self, daemon: Served, config: Path) -> None:
        self._daemon = daemon
        self._config = config
        self.orders = Orders(daemon)
        self.showing = Showing(daemon, lambda: daemon.bfd, lambda: daemon.read_back, lambda: daemon.service_health)

    def table(self) -> Mapping[str, Handler]:
        """Verb -> handler."""
        return {
            "status": self._status,
            "why": self._why,
            "reload": self._reload,
            "rollback": self._roll_back,
            **self.orders.table(),
            **self.showing.table(),
        }

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
        state, now = daemon.speaker.state(), time.monotonic()
        return status.facts(daemon.node, forwarder, state, daemon.events.last, now, daemon.read_back)

    async def _why(self, request: Mapping[str, Any], _: int) -> Answer:
        forwarding = self._daemon.forwarding
        try:
            flow = parse_flow(str(request.get("source")), str(request.get("destination")))
        except FlowError as error:
            raise RefusedError(str(error), USAGE) from None
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
        return await self._follow(self._daemon.reload)

    async def _roll_back(self, _: Mapping[str, Any], uid: int) -> Answer:
        self._daemon.events.record("config", "loaded", "loaded", f"rollback asked by uid {uid}")
        try:
            return await self._follow(self._daemon.roll_back)
        except LookupError as error:
            raise RefusedError(str(error), 1) from None

    async def _follow(self, change: Callable[[], Awaitable[str]]) -> Answer:
        try:
            return {"file": str(self._config), "changes": await change()}
        except ConfigError as error:
            raise RefusedError(f"the file has errors, the old configuration goes on:\n{error}", CONFIG) from None
        except (OSError, UnicodeDecodeError) as error:
            raise RefusedError(f"{self._config}: {error}", CONFIG) from None
