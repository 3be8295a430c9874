"""The state of a running lab, folded from samples: rates from counters, what changed, what is active. No I/O."""

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lab.view.model import ActiveFault, Change, Counters, NodeSample, Sample, Session

SCHEMA_VERSION = 1
_CHANGES_KEPT = 200
_CHANGES_SHOWN = 50
_WORD = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9_]")
_HISTORY = 60  # rounds whose rates are kept for each link


@dataclass(frozen=True, slots=True)
class Ends:
    """A link: node and interface of both ends."""

    a: str
    a_interface: str
    b: str
    b_interface: str


class Live:
    """Folds samples in the order of their times. `names`: the node that has an address, to name peers and next hops."""

    def __init__(self, lab: str, runtime: str, links: Sequence[Ends], names: Mapping[str, str]) -> None:
        self._lab, self._runtime, self._links, self._names = lab, runtime, tuple(links), dict(names)
        self._last: Sample | None = None
        self._rates: dict[tuple[str, str], tuple[float, float, float, float]] = {}
        self._sessions: dict[str, tuple[float, Sequence[Session], str]] = {}
        self._changes: deque[Change] = deque(maxlen=_CHANGES_KEPT)
        self._history: dict[int, deque[float]] = {index: deque(maxlen=_HISTORY) for index in range(len(links))}

    def take(self, sample: Sample) -> None:
        """Fold one round. The first has no rates: a rate is a difference."""
        before = self._last
        self._rates = {}
        if before is not None and sample.time > before.time:
            for node, interface, old, new in _pairs(before.nodes, sample.nodes):
                self._rates[node, interface] = _rate(old, new, sample.time - before.time)
        self._last = sample
        for index, ends in enumerate(self._links):
            self._history[index].append(round(sum(way["packets"] for way in self._ways(ends))))

    def take_sessions(self, node: str, now: float, sessions: Sequence[Session], problem: str = "") -> None:
        """What a node said of its sessions at `now`; `problem`: why it could not be asked."""
        self._sessions[node] = (now, sessions, problem)

    def take_changes(self, changes: Iterable[Change]) -> None:
        """Changes of routes, in order of time."""
        self._changes.extend(changes)

    def state(self, now: float) -> dict[str, Any]:
        """What the page shows, as plain JSON. Rates are per second, ages in seconds."""
        sample = self._last
        nodes = sample.nodes if sample else {}
        return {
            "schema_version": SCHEMA_VERSION,
            "lab": self._lab,
            "runtime": self._runtime,
            "age": round(now - sample.time, 2) if sample else None,
            "nodes": {name: self._node(name, node, now) for name, node in nodes.items()},
            "links": [self._link(index, ends) for index, ends in enumerate(self._links)],
            "faults": [asdict(fault) | {"nodes": _named(fault, nodes)} for fault in (sample.faults if sample else ())],
            "changes": [self._change(change, now) for change in list(self._changes)[: -_CHANGES_SHOWN - 1 : -1]],
            "problems": list(sample.problems) if sample else [],
        }

    def _node(self, name: str, node: NodeSample, now: float) -> dict[str, Any]:
        asked = self._sessions.get(name)
        running = node.state == "running"
        sessions = [self._session(name, session) for session in asked[1]] if asked and running else []
        down = sum(not session["up"] for session in sessions)
        return {
            "state": node.state,
            "health": "down" if not running else "degraded" if down or not self._carriers(name, node) else "up",
            "sessions": sessions,
            "sessions_age": round(now - asked[0], 1) if asked else None,
            "sessions_problem": asked[2] if asked and running else "",
            "interfaces": {
                interface: {"up": counters.up, **self._interface(name, interface)}
                for interface, counters in sorted(node.interfaces.items())
                if interface != "lo"
            },
        }

    def _carriers(self, name: str, node: NodeSample) -> bool:
        """Whether all the links that the topology gives the node are up."""
        mine = [end for link in self._links for end in _ends(link) if end[0] == name]
        return all(node.interfaces[interface].up for _, interface in mine if interface in node.interfaces)

    def _interface(self, node: str, interface: str) -> dict[str, float]:
        rx_packets, tx_packets, rx_bits, tx_bits = self._rates.get((node, interface), (0.0, 0.0, 0.0, 0.0))
        return {"rx_packets": rx_packets, "tx_packets": tx_packets, "rx_bits": rx_bits, "tx_bits": tx_bits}

    def _session(self, node: str, session: Session) -> dict[str, Any]:
        """A peer is known by its address, or by the interface where it is (BGP unnumbered)."""
        across = {one: other for link in self._links for one, other in (_ends(link), _ends(link)[::-1])}
        peer_node = self._names.get(session.peer.split("%")[0], "") or across.get((node, session.peer), ("", ""))[0]
        return asdict(session) | {"peer_node": peer_node}

    def _link(self, index: int, ends: Ends) -> dict[str, Any]:
        there, back = self._ways(ends)
        told = [self._counters(*end) for end in _ends(ends)]
        up = all(counters.up for counters in told if counters) and any(told)
        return {
            "a": f"{ends.a}:{ends.a_interface}", "b": f"{ends.b}:{ends.b_interface}", "up": up,
            "packets": [there["packets"], back["packets"]], "bits": [there["bits"], back["bits"]],
            "history": list(self._history[index]),
        }  # fmt: skip

    def _ways(self, ends: Ends) -> tuple[dict[str, float], dict[str, float]]:
        """Rates from a to b and back: an end with XDP may count less than the other, so the higher."""
        one, other = (self._interface(node, interface) for node, interface in _ends(ends))
        return (
            {"packets": max(one["tx_packets"], other["rx_packets"]), "bits": max(one["tx_bits"], other["rx_bits"])},
            {"packets": max(other["tx_packets"], one["rx_packets"]), "bits": max(other["tx_bits"], one["rx_bits"])},
        )

    def _counters(self, node: str, interface: str) -> Counters | None:
        found = self._last.nodes.get(node) if self._last else None
        return found.interfaces.get(interface) if found else None

    def _change(self, change: Change, now: float) -> dict[str, Any]:
        hops = [self._names.get(hop.split("@")[0].split("%")[0], hop) for hop in change.hops]
        return {"age": round(now - change.time, 1), "router": change.router, "prefix": change.prefix, "hops": hops}


def _ends(link: Ends) -> tuple[tuple[str, str], tuple[str, str]]:
    return (link.a, link.a_interface), (link.b, link.b_interface)


def _named(fault: ActiveFault, nodes: Iterable[str]) -> list[str]:
    """The nodes that a fault's text names."""
    words = set(_WORD.findall(f"{fault.name} {fault.text}"))
    return [name for name in nodes if name in words]


def _pairs(
    before: Mapping[str, NodeSample], after: Mapping[str, NodeSample]
) -> Iterable[tuple[str, str, Counters, Counters]]:
    """Each interface that both samples have."""
    for name, node in after.items():
        old = before[name].interfaces if name in before else {}
        for interface, counters in node.interfaces.items():
            if interface in old:
                yield name, interface, old[interface], counters


def _rate(old: Counters, new: Counters, seconds: float) -> tuple[float, float, float, float]:
    """Packets received and sent, bits received and sent, per second; 0 where a counter began again."""
    differences = (
        new.rx_packets - old.rx_packets, new.tx_packets - old.tx_packets,
        8 * (new.rx_bytes - old.rx_bytes), 8 * (new.tx_bytes - old.tx_bytes),
    )  # fmt: skip
    rates = [round(max(difference, 0) / seconds, 1) for difference in differences]
    return rates[0], rates[1], rates[2], rates[3]
