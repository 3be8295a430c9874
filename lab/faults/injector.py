"""Makes faults in a running lab and undoes them, also those that a tool left which died."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.faults import act_clock, act_edges, act_links, act_nodes, act_traffic, parse, undo
from lab.faults.act import Act
from lab.faults.journal import Entry, Journal
from lab.faults.model import problems
from lab.faults.model_base import Fault
from lab.faults.site import Site
from lab.runtime import LabError, Runtime
from lab.topology.model import Topology

_STATE = Path("/run/fairhop/lab")

MAKERS: Mapping[str, Callable[[Act, Any], str]] = {
    "link-down": act_links.link_down,
    "loss": act_links.loss,
    "rate": act_links.rate,
    "delay": act_links.delay,
    "blackhole": act_links.blackhole,
    "mtu": act_links.mtu,
    "bfd-down": act_links.bfd_down,
    "kill": act_nodes.kill,
    "pause": act_nodes.pause,
    "freeze": act_nodes.freeze,
    "kill-process": act_nodes.kill_process,
    "disk-full": act_nodes.disk_full,
    "clock-jump": act_clock.clock_jump,
    "store-loss": act_nodes.store_loss,
    "router-restart": act_nodes.router_restart,
    "session-reset": act_nodes.session_reset,
    "ecmp-rehash": act_nodes.ecmp_rehash,
    "config": act_edges.config,
    "checker-lies": act_edges.checker_lies,
    "checker-hangs": act_edges.checker_hangs,
    "syn-flood": act_traffic.syn_flood,
    "udp-flood": act_traffic.udp_flood,
    "ptb-storm": act_traffic.ptb_storm,
}


@dataclass(frozen=True, slots=True)
class Applied:
    """A fault that was made: `since` in monotonic seconds, `text` says what was done."""

    name: str
    fault: Fault
    since: float
    text: str


class Injector:
    """The faults of one lab. As a context manager it undoes at the end what it made.

    `journal` is where faults are written down, by default beside the lab's state, for all tools alike.
    """

    def __init__(self, runtime: Runtime, topology: Topology, journal: Path | None = None) -> None:
        self._site = Site(runtime, topology)
        self._journal = Journal(journal or _STATE / topology.name / "faults.json")
        self._own: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._revert([name for name in self._own if self._entry(name)])

    def apply(self, fault: Fault, name: str = "") -> Applied:
        """Make a fault. Raises LabError when it cannot be made, and then nothing of it stays."""
        if found := problems(fault, self._site.topology):
            raise LabError(f"{fault.kind}: {'; '.join(found)}")
        if fault.kind not in MAKERS:
            raise LabError(f"{fault.kind} cannot be made by this version")
        name = self._free(name or fault.kind, given=bool(name))
        entry = Entry(name, parse.spelled(fault), time.monotonic())
        self._journal.put(entry)
        act = Act(self._site, self._journal, entry)
        try:
            text = MAKERS[fault.kind](act, fault)
        except BaseException:
            self._undo(act.entry)
            raise
        if fault.one_shot:
            self._journal.drop(name)
        else:
            self._journal.put(replace(act.entry, text=text))
            self._own.append(name)
        return Applied(name, fault, act.entry.since, text)

    def revert(self, name: str) -> None:
        """Undo a fault; one that is not there is undone already. Raises LabError when it cannot be undone."""
        if entry := self._entry(name):
            self._undo(entry)

    def revert_all(self) -> None:
        """Undo every fault of the lab, the latest first, whoever made it. Raises LabError with all that failed."""
        self._revert([entry.name for entry in self._entries()])

    def active(self) -> list[Applied]:
        """The faults of the lab, the oldest first, whoever made them."""
        return [Applied(each.name, parse.build(each.fault), each.since, each.text) for each in self._entries()]

    def _revert(self, names: list[str]) -> None:
        errors = []
        for name in reversed(names):
            try:
                self.revert(name)
            except LabError as error:
                errors.append(f"{name}: {error}")
        if errors:
            raise LabError("; ".join(errors))

    def _undo(self, entry: Entry) -> None:
        spared = undo.spared(self._entries(), entry.name)
        errors = []
        for step in reversed(entry.undo):
            if (entry.places or {}).get(step.node) != self._site.place(step.node):
                continue  # that lab is gone, and with it all that was done there
            if step.op == "continue":
                left = (word for word in step.words if tuple(map(int, word.split(":"))) not in spared)
                step = replace(step, words=tuple(left))  # noqa: PLW2901
            try:
                undo.undo(step, self._site)
            except (LabError, OSError) as error:
                errors.append(str(error))
        if errors:
            raise LabError("; ".join(errors))
        self._journal.drop(entry.name)
        with suppress(ValueError):
            self._own.remove(entry.name)

    def _entries(self) -> list[Entry]:
        try:
            return self._journal.entries()
        except ValueError as error:
            raise LabError(str(error)) from None

    def _entry(self, name: str) -> Entry | None:
        return next((each for each in self._entries() if each.name == name), None)

    def _free(self, name: str, *, given: bool) -> str:
        taken = {entry.name for entry in self._entries()}
        if name not in taken:
            return name
        if given:
            raise LabError(f"there is a fault '{name}' already: revert it, or give this one another name")
        return next(each for number in range(2, 10_000) if (each := f"{name}-{number}") not in taken)
