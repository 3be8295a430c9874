"""How each row is measured: its layout, and one function that measures it on a bed, repetition by repetition."""

import contextlib
import math
import signal as signals
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bgp.route import Prefix
from edge.control.ask import RefusedError
from edge.datapath import abi
from lab.announce.bed import Bed, Progress
from lab.announce.floor import FloorPeer
from lab.announce.plan import Kind, Layout
from lab.announce.watch import Armed
from lab.runtime import LabError

NEVER = math.inf
_WITHIN = 10.0  # seconds after which an event has no effect
_ALL_AT_ONCE = 3.0  # seconds for all VIPs to be gone at one moment
AT_ONCE = {"drain": {"settle": 0}}
FULL = min(1000, abi.MAX_VIPS)


class MissingError(Exception):
    """What is to be measured is not there yet; the text says what."""


@dataclass(slots=True)
class Found:
    """What a measure hands back: a value for each repetition, and what else was seen."""

    values: list[float] = field(default_factory=list)
    notes: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured. `alternate_for`: seconds that a checker alternates.

    `real_time`: the whole testbed runs before everything else on the machine, as if it were alone there.
    """

    repetitions: int = 30
    alternate_for: float = 600.0
    real_time: bool = True

    @property
    def drains(self) -> int:
        """How many planned drains under load: 100 for 30 repetitions."""
        return math.ceil(self.repetitions * 10 / 3)


Measure = Callable[[Bed, int, Effort, Progress], Found]
Recipe = tuple[Callable[[Kind], Layout], Measure]


def layout(**options: Any) -> Callable[[Kind], Layout]:
    """The layout of these options for a router of any kind."""
    return lambda kind: Layout(kind=kind, **options)


def milliseconds(bed: Bed, armed: Armed, began: float, what: str, within: float = _WITHIN) -> float:
    """From `began` until what is armed; infinity when it does not come about."""
    try:
        return 1000 * (bed.watch.wait(armed, within, what) - began)
    except LabError:
        return NEVER


def each(repetitions: int, tell: Progress) -> Iterator[int]:
    """The repetitions, told."""
    for number in range(repetitions):
        tell(f"  {number + 1} of {repetitions}")
        yield number


def _drain_vip(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
    vip = str(bed.world.vips[0])
    found = Found()
    for _number in each(repetitions, tell):
        armed, began = bed.left(), time.monotonic()
        try:
            bed.edge.ask("drain", kind="vip", name=vip)
        except RefusedError as refused:
            raise MissingError(f"the daemon does not drain a VIP: {refused}") from None
        found.values.append(milliseconds(bed, armed, began, "the VIP gone"))
        if len(bed.watch.table()) != len(bed.world.vips) - 1:
            found.notes = "another VIP was touched"
        bed.edge.ask("undrain", kind="vip", name=vip)
        bed.settled()
    return found


def _drain_node(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
    """The whole node, withdrawn at once."""
    found = Found(notes=f"{len(bed.world.vips)} VIPs")
    before_answer = []
    for _number in each(repetitions, tell):
        armed, began = bed.gone(), time.monotonic()
        answer = bed.edge.ask("drain", kind="node")
        found.values.append(milliseconds(bed, armed, began, "all VIPs gone"))
        before_answer.append(1000 * (float(answer["at"]) - began))
        bed.edge.ask("undrain", kind="node")
        bed.settled()
    found.facts["ms before the daemon answered"] = sorted(before_answer)[len(before_answer) // 2]
    return found


def _killed(part: str, *, full: bool = False) -> Measure:
    """SIGKILL; the first time it must come back by itself."""

    def measure(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
        require(bed, part)
        found = Found(notes=f"{len(bed.world.vips)} VIPs" if full else "")
        for number in each(repetitions, tell):
            armed = bed.gone()
            began = bed.edge.signal(part, signals.SIGKILL)
            if full:
                found.values.append(_each_gone(bed, armed, began, found))
            else:
                found.values.append(milliseconds(bed, armed, began, "all VIPs gone"))
            recover(bed, alone=number == 0 and part != "daemon", found=found)
        return found

    return measure


def _each_gone(bed: Bed, armed: Armed, began: float, found: Found) -> float:
    """Until the last of many VIPs has been gone once: a fast restart may bring the first back before the last goes."""
    value = milliseconds(bed, armed, began, "all VIPs gone", _ALL_AT_ONCE)
    if value < NEVER:
        return value
    first: dict[Prefix, float] = {}
    for at, prefix, hops in bed.watch.changes(began):
        if not hops:
            first.setdefault(prefix, at)
    stayed = len(set(bed.world.prefixes) - first.keys())
    seen = {"gone once": len(first), "stayed": stayed, "routes now": len(bed.watch.table())}
    found.facts.setdefault("not all gone at one moment", []).append(seen)
    # What was announced again before the router came to remove it never went: a session lives that stands by it.
    again = len(bed.watch.table()) == len(bed.world.prefixes)
    return 1000 * (max(first.values()) - began) if first and (again or not stayed) else NEVER


def _relay_killed(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
    """The VIP may stay when a new relay takes the old one's place: until that stands, or until the VIP is gone."""
    found = Found()
    changes = []
    for number in each(repetitions, tell):
        old = bed.edge.pid("relay")
        armed = bed.gone()
        began = bed.edge.signal("relay", signals.SIGKILL)
        stood = NEVER
        while armed.at is None and time.monotonic() - began < _WITHIN:
            if _relay_stands(bed, old):
                stood = 1000 * (time.monotonic() - began)
                break
            time.sleep(0.01)
        gone = 1000 * (armed.at - began) if armed.at else NEVER
        found.values.append(min(gone, stood))
        time.sleep(0.5)
        changes.append(len(bed.watch.changes(began)))
        recover(bed, alone=number == 0, found=found)
    found.facts["changes of the FIB in each repetition"] = changes
    found.notes = f"{sum(map(bool, changes))} of {len(changes)} times a VIP went and came back"
    return found


def _relay_stands(bed: Bed, old: int) -> bool:
    relays = bed.edge.pids("relay")
    if not relays or relays == [old]:
        return False
    facts = bed.edge.ask("status")
    return facts["announcer"]["phase"] == "running" and all(vip["acked"] for vip in facts["vips"])


def stopped(part: str, signal: signals.Signals = signals.SIGSTOP) -> Measure:
    """Stop a part; the first time all must be well by itself when it goes on."""

    def measure(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
        require(bed, part)
        found = Found()
        for number in each(repetitions, tell):
            armed = bed.gone()
            began = bed.edge.signal(part, signal)
            found.values.append(milliseconds(bed, armed, began, "all VIPs gone"))
            with contextlib.suppress(LabError):  # what is stopped may have been ended and replaced
                bed.edge.signal(part, signals.SIGCONT)
            recover(bed, alone=number == 0 and part != "all", found=found)
        return found

    return measure


def _babbling(direction: int) -> Measure:
    """Write what nobody asked for into the relay's stdin (0, ExaBGP's answers) or stdout (1, commands to ExaBGP)."""
    noise = {0: b"done\n" * 200, 1: b"announce nonsense\n\x01\x02 babble\n" * 200}[direction]

    def measure(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
        found = Found()
        for number in each(repetitions, tell):
            armed = bed.gone()
            pipe = f"/proc/{bed.edge.pid('relay')}/fd/{direction}"
            began = time.monotonic()
            with open(pipe, "wb", buffering=0) as end:  # noqa: PTH123 - a pipe of another process
                end.write(noise)
            found.values.append(milliseconds(bed, armed, began, "all VIPs gone"))
            recover(bed, alone=number == 0, found=found)
        return found

    return measure


def _detached(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
    found = Found()
    for _number in each(repetitions, tell):
        armed = bed.gone()
        began = bed.edge.detach()
        found.values.append(milliseconds(bed, armed, began, "all VIPs gone", 3.0))
        bed.edge.await_serving()
        bed.settled()
    return found


def _service_hangs(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
    """The first edge's own backend accepts and never answers: the edge must leave the ECMP set."""
    found = Found()
    for _number in each(repetitions, tell):
        armed, began = bed.gone(), time.monotonic()
        bed.hang("b1", signals.SIGSTOP)
        found.values.append(milliseconds(bed, armed, began, "de-preferred"))
        bed.hang("b1", signals.SIGCONT)
        bed.edge.await_serving()
        bed.settled()
    return found


def node_dies(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
    """Every process of the edge stops at one moment; its kernel goes on, as a node's does that is out of memory."""
    found = Found()
    for _number in each(repetitions, tell):
        armed = bed.gone()
        began = bed.edge.signal("all", signals.SIGSTOP)
        found.values.append(milliseconds(bed, armed, began, "all VIPs gone"))
        bed.edge.restart()
        bed.settled()
    return found


def _floor_update(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
    found = Found()
    first = bed.world.prefixes[0]
    with FloorPeer(bed.world, bed.world.nodes["e1"]) as peer:
        for _number in each(repetitions, tell):
            armed = bed.watch.arm(lambda table: first in table)
            peer.send(peer.announcement)
            bed.watch.wait(armed, _WITHIN, "the floor's route")
            bed.quiet()
            armed = bed.watch.arm(lambda table: first not in table)
            found.values.append(milliseconds(bed, armed, peer.send(peer.withdrawal), "the floor's route gone"))
    return found


def _floor_close(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
    found = Found()
    for _number in each(repetitions, tell):
        with FloorPeer(bed.world, bed.world.nodes["e1"]) as peer:
            armed = bed.watch.arm(lambda table: len(table) == len(bed.world.vips))
            peer.send(peer.announcement)
            bed.watch.wait(armed, _WITHIN, "the floor's routes")
            bed.quiet()
            armed = bed.watch.arm(lambda table: not table)
            found.values.append(milliseconds(bed, armed, peer.close(), "the floor's routes gone"))
    return found


def _missing(what: str) -> Measure:
    def measure(*_: object) -> Found:
        raise MissingError(what)

    return measure


def require(bed: Bed, part: str) -> None:
    """Raise `MissingError` where the edge has no such process."""
    if not bed.edge.pids(part):
        raise MissingError(f"there is no {part} process")


def recover(bed: Bed, *, alone: bool, found: Found) -> None:
    """Wait until all is well, by itself where `alone`; then, or at once, start over with no memory of deaths."""
    if alone:
        try:
            bed.edge.await_serving(20.0)
            bed.settled(20.0)
        except LabError as error:
            found.notes = f"does not recover alone: {error}"
            found.values[-1] = NEVER
    bed.edge.restart()
    bed.settled()


ONE, _INSTANT = layout(), layout(options=AT_ONCE)
_FULL = layout(vips=FULL, options=AT_ONCE)
_NO_DAEMON = layout(daemons=False, vips=1)
_SHORT_HOLD = layout(router_hold=3, options={"announcer": {"hold_time": 3}})

SHORT_RECIPES: dict[str, Recipe] = {
    "floor-update": (_NO_DAEMON, _floor_update),
    "floor-close": (_NO_DAEMON, _floor_close),
    "floor-close-all": (layout(daemons=False, vips=FULL), _floor_close),
    "drain-vip": (_INSTANT, _drain_vip),
    "drain-node": (_INSTANT, _drain_node),
    "all-vips": (_FULL, _drain_node),
    "all-vips-killed": (_FULL, _killed("exabgp", full=True)),
    "detached": (ONE, _detached),
    "service-hangs": (layout(edges=2, apart=True), _service_hangs),
    "exabgp-killed": (ONE, _killed("exabgp")),
    "relay-killed": (ONE, _relay_killed),
    "daemon-killed": (ONE, _killed("daemon")),
    "exabgp-stopped": (ONE, stopped("exabgp")),
    "relay-stopped": (ONE, stopped("relay")),
    "daemon-stopped": (ONE, stopped("daemon")),
    "relay-babbles": (ONE, _babbling(0)),
    "exabgp-babbled": (ONE, _babbling(1)),
    "node-dead-hold": (_SHORT_HOLD, node_dies),
    "site-failover": (layout(sites=2, options=AT_ONCE), _drain_node),
}
