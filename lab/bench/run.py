"""One run of the bench: its parts in order, then one report of facts, verdicts and lines."""

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.bench import builds, harness, packets, scale
from lab.bench.builds import BuildRow
from lab.bench.figures import Figure, Verdict
from lab.bench.packets import FORWARD, Amount, PacketRow
from lab.bench.scale import ScaleRow

PACKETS, SCALE, TABLES, VETH = PARTS = ("packets", "scale", "tables", "veth")
_CORE_MPPS = 6.0
_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is measured. `heavy` rounds are those of whole tables, swaps and veth; each sends `frames` frames."""

    amount: Amount = field(default_factory=Amount)
    heavy: int = 5
    frames: int = 2_000_000
    sizes: tuple[int, ...] = builds.SIZES


THOROUGH = Effort()
QUICK = Effort(Amount(3, 20_000), 2, 100_000, builds.SIZES[:1])


@dataclass(frozen=True, slots=True)
class Rate:
    """Packets a second over veth: `what` is "core" or "path", `program` the forwarder or the floor."""

    program: str
    what: str
    figure: Figure


@dataclass(slots=True)
class Report:
    """Everything one run measured; a part that was not asked for is empty."""

    packets: Sequence[PacketRow] = ()
    scale: Sequence[ScaleRow] = ()
    tables: Sequence[BuildRow] = ()
    generations: dict[str, Figure] = field(default_factory=dict)
    veth: Sequence[Rate] = ()

    @property
    def verdicts(self) -> list[Verdict]:
        """One for each target."""
        rows: tuple[PacketRow | ScaleRow | BuildRow, ...] = (
            *self.packets,
            *self.scale,
            *self.tables,
        )
        rates = [rate for rate in self.veth if (rate.program, rate.what) == (FORWARD, "core")]
        return [
            *(verdict for row in rows for verdict in row.verdicts()),
            *(Verdict("forwarder core over veth", rate.figure, _CORE_MPPS, at_least=True) for rate in rates),
        ]

    def to_json(self) -> dict[str, Any]:
        """The facts as plain values."""
        return {
            "machine": {"kernel": platform.release(), "cpu": _cpu()},
            "packets": [row.to_json() for row in self.packets],
            "scale": [row.to_json() for row in self.scale],
            "tables": [row.to_json() for row in self.tables],
            "generations": {name: figure.to_json() for name, figure in self.generations.items()},
            "veth": [{"program": r.program, "what": r.what, "figure": r.figure.to_json()} for r in self.veth],
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
        }

    def table(self) -> Iterator[tuple[str, str, str]]:
        """Rows of (what, how it was measured, figure), headings first."""
        yield "WHAT", "", "MEDIAN (MIN..MAX)"
        for row in self.packets:
            yield row.case, f"{row.flows} flows", f"{row.net} net, {row.plain} with restoring"
        for grown in self.scale:
            at = grown.scale
            yield "tcp4 at scale", f"{at.services} services, {at.backends} backends", f"{grown.net} net"
        for build in self.tables:
            size = f"{build.members} backends, {build.size} slots"
            yield "lookup_table", size, f"{build.native or 'no library'}; in Python {build.python}"
        for name, figure in self.generations.items():
            yield name, "65537 slots", str(figure)
        for rate in self.veth:
            yield f"veth, {rate.what}", rate.program, str(rate.figure)


def run(effort: Effort, parts: Collection[str], tell: Callable[[str], None]) -> Report:
    """Measure `parts`. Raises `BenchError` or `BpfError`."""
    report = Report()
    if VETH in parts:
        _measure_inside(report, effort)
    with harness.on_one_cpu():
        if PACKETS in parts:
            report.packets = packets.measure(effort.amount, tell)
        if SCALE in parts:
            report.scale = scale.measure(effort.amount, tell)
        if TABLES in parts:
            report.tables = builds.measure(effort.heavy, tell, effort.sizes)
    return report


def _measure_inside(report: Report, effort: Effort) -> None:
    """The part that attaches programs, in a process that leaves nothing behind; its messages go to our stderr."""
    command = [sys.executable, "-m", "lab.bench.inside", str(effort.heavy), str(effort.frames)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=_TIMEOUT)
    if done.returncode:
        raise harness.BenchError(f"the part over veth ended with {done.returncode}: see above")
    facts = json.loads(done.stdout)
    report.veth = [
        Rate(rate["program"], rate["what"], Figure.of(rate["rounds"], "Mpps"))
        for rate in facts["veth"]
        if rate["rounds"]
    ]
    report.generations = {name: Figure.of(values, "ms") for name, values in facts["generations"].items()}


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
