"""Why each fairhop edge dropped or passed packets, between two marks; from the maps that its data path has pinned.

This works also while the edge's daemon is dead, since the data path is not. An edge that is no fairhop has no such
counters, and is named as such: nothing is known about it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge.datapath import abi, counting
from edge.datapath.bpf_error import BpfError
from edge.datapath.bpf_map import BpfMap
from edge.datapath.pinned import map_path
from lab.runtime import LabError, Runtime

PIN = Path("/run/bpf/fairhop")  # inside an edge, as `fairhop lab render` writes it


@dataclass(frozen=True, slots=True)
class Reasons:
    """Edge -> reason -> packets of an interval: `rx`, `tx`, `passed`, every reason to drop and every note, also at 0.

    `unknown`: edges without such counters, and why.
    """

    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> dict[str, int]:
        """The same over all edges that are known."""
        sums: dict[str, int] = {}
        for counts in self.counts.values():
            for reason, count in counts.items():
                sums[reason] = sums.get(reason, 0) + count
        return sums

    @property
    def drops(self) -> dict[str, dict[str, int]]:
        """Edge -> reason to drop -> packets, those at 0 left out."""
        labels = {reason.label for reason in abi.Reason}
        return {
            edge: {reason: count for reason, count in counts.items() if count and reason in labels}
            for edge, counts in self.counts.items()
        }


class ReasonWatch:
    """Reads the counters of `edges` at each mark. A node that restarted begins again at 0."""

    def __init__(self, runtime: Runtime, edges: Sequence[str]) -> None:
        self._runtime, self._edges = runtime, tuple(edges)
        self._before = self._read().counts

    def mark(self) -> Reasons:
        """What was counted since the mark before, or since this was made. Raises LabError."""
        now = self._read()
        changed = {edge: difference(self._before.get(edge, {}), counts) for edge, counts in now.counts.items()}
        self._before = {**self._before, **now.counts}
        return Reasons(changed, now.unknown)

    def _read(self) -> Reasons:
        pids = {status.name: status.pid for status in self._runtime.nodes()}
        counts, unknown = {}, {}
        for edge in self._edges:
            if not pids.get(edge):
                unknown[edge] = "the node does not run"
                continue
            path = map_path(Path(f"/proc/{pids[edge]}/root{PIN}"), abi.TOTALS)
            if not path.exists():
                unknown[edge] = f"no fairhop data path: it has nothing at {map_path(PIN, abi.TOTALS)}"
                continue
            counts[edge] = _totals(edge, path)
        return Reasons(counts, unknown)


def difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What was counted between two readings; all of `after` where any count fell, for it then began again at 0."""
    if any(after.get(reason, 0) < count for reason, count in before.items()):
        return dict(after)
    return {reason: count - before.get(reason, 0) for reason, count in after.items()}


def _totals(edge: str, path: Path) -> dict[str, int]:
    try:
        with BpfMap.open_pinned(path) as totals:
            found = counting.counters(counting.read_totals(totals))
    except BpfError as error:
        raise LabError(f"{edge}: cannot read the counters of its data path: {error}") from error
    return {"rx": found.rx, "tx": found.tx, "passed": found.passed, **found.drops, **found.notes}
