"""Whether all that a scenario names exists in its topology. Values in, (place, sentence) out; no I/O.

A place is the path of the value in the file, for `Document.problem`.
"""

from collections.abc import Collection, Iterator, Sequence

from edge.datapath.abi import Reason
from edge.datapath.model import Protocol
from edge.text.decode import nearest
from edge.text.strictyaml import Path
from lab.addressing import LabPlan, Role, ServicePlan
from lab.faults import model as faults
from lab.faults.model_base import Fault
from lab.scenario.model import Announcing, Counts, Expect, Scenario, Step, StreamModel
from lab.scenario.moves import Drain, Exec, Heal, Inject, Kill, Move, Reload, Restart, Rollback, Start, Undrain
from lab.topology.model import Topology

ALL = "all"
_TCP_KINDS = ("requests", "connections", "bulk")
_FLOWS = ("connections", "datagrams", "quic")
# The kinds of traffic that give evidence for a bound; without any of them it could not be judged.
EVIDENCE: dict[str, tuple[str, ...]] = {
    "broken": _FLOWS, "gap": (*_FLOWS, "bulk"), "held": _FLOWS, "opened": _FLOWS,
    "failed": ("requests",), "slowest": ("requests",), "answered": ("requests",),
    "transfers_failed": ("bulk",), "lost": ("datagrams", "quic"),
}  # fmt: skip

Finding = tuple[Path, str]


def problems(scenario: Scenario, topology: Topology, plan: LabPlan) -> Iterator[Finding]:
    """All that is named and does not exist, or cannot be judged."""
    yield from _Names(scenario, topology, plan).all()


class _Names:
    def __init__(self, scenario: Scenario, topology: Topology, plan: LabPlan) -> None:
        self._scenario, self._topology, self._plan = scenario, topology, plan
        self._services = {service.name: service for service in plan.services}
        self._edges = [edge.name for edge in plan.having(Role.EDGE)]
        self._faults: list[str] = []

    def all(self) -> Iterator[Finding]:
        for name, stream in self._scenario.traffic.items():
            yield from self._stream(("traffic", name), stream)
        seen: dict[str, int] = {}
        for number, step in enumerate(self._scenario.steps):
            path: Path = ("steps", number)
            if step.name in seen:
                yield (*path, "name"), f"two steps are called '{step.name}': each needs a name of its own"
            seen.setdefault(step.name, number)
            yield from self._step(path, step)
        yield from self._expect(("expect",), self._scenario.expect)
        yield from self._repetitions([*seen])

    def _stream(self, path: Path, stream: StreamModel) -> Iterator[Finding]:
        clients = [client.name for client in self._plan.having(Role.CLIENT)]
        yield from _unknown((*path, "from"), stream.clients, clients, "client")
        if not clients:
            yield path, f"topology {self._topology.name} has no client to send it"
        service = self._services.get(stream.to)
        if service is None:
            yield (*path, "to"), f"there is no service '{stream.to}'{nearest(stream.to, list(self._services))}"
            return
        wanted = Protocol.TCP if stream.kind in _TCP_KINDS else Protocol.UDP
        if port_of(service, stream.kind) is None:
            yield (*path, "to"), f"service '{stream.to}' has no {wanted.name} port, which {stream.kind} need"
        if stream.ipv6 and service.vip6 is None:
            yield (*path, "ipv6"), f"service '{stream.to}' has no IPv6 VIP"

    def _step(self, path: Path, step: Step) -> Iterator[Finding]:
        for number, move in enumerate(step.do):
            yield from self._move((*path, "do", number), move)
        if isinstance(step.announcing, Announcing):
            yield from self._announcing((*path, "announcing"), step.announcing)
        yield from self._expect((*path, "expect"), step.expect)

    def _move(self, path: Path, move: Move) -> Iterator[Finding]:
        # A lone action stands at `do` itself, one of several in a list: `Document.problem` takes the nearest place.
        path = (*path, move.kind)
        nodes = list(self._topology.nodes)
        if isinstance(move, Drain | Undrain):
            yield from self._order(path, move)
        elif isinstance(move, Reload | Rollback):
            yield from _unknown((*path, "nodes"), move.nodes, self._edges, "edge")
            yield from self._of_fairhop(path, move.kind, move.nodes)
        elif isinstance(move, Kill | Start | Restart):
            yield from _unknown((*path, "nodes"), move.nodes, nodes, "node")
        elif isinstance(move, Exec):
            yield from _unknown((*path, "node"), [move.node], nodes, "node")
        elif isinstance(move, Inject):
            fault = fault_of(move)
            yield from (((*path, move.fault), text) for text in faults.problems(fault, self._topology))
            name = move.name or move.fault
            if name in self._faults:
                yield path, f"a fault called '{name}' was made before: give this one a name"
            self._faults.append(name)
        elif isinstance(move, Heal) and move.name != ALL:
            yield from _unknown(path, [move.name], self._faults, "fault of an earlier step")
            if move.name in self._faults:
                self._faults.remove(move.name)
        elif isinstance(move, Heal):
            self._faults.clear()

    def _order(self, path: Path, move: Drain | Undrain) -> Iterator[Finding]:
        yield from _unknown((*path, "nodes"), move.nodes, self._edges, "edge")
        yield from _unknown((*path, "on"), move.on, self._edges, "edge")
        yield from _unknown((*path, "vip"), [move.vip] if move.vip else [], list(self._services), "service")
        backends = [backend.name for backend in self._plan.nodes.values() if backend.role.value in _RECEIVERS]
        yield from _unknown((*path, "backend"), [move.backend] if move.backend else [], backends, "backend")
        if move.vip:
            yield from self._of_fairhop((*path, "vip"), f"{move.kind} of a vip", move.on or self._edges)

    def _of_fairhop(self, path: Path, what: str, edges: Collection[str]) -> Iterator[Finding]:
        """Orders that only a fairhop edge understands."""
        others = {target for edge in edges if edge in self._edges
                  if (target := self._plan.nodes[edge].target) != "fairhop"}  # fmt: skip
        if others:
            yield path, f"{what}: edges that are {' and '.join(sorted(others))} cannot do it"

    def _announcing(self, path: Path, announcing: Announcing) -> Iterator[Finding]:
        if (announcing.without is None) == (announcing.only is None):
            yield path, "announcing needs one of 'without' and 'only'"
        ends = [f"{end.node}:{end.interface}" for link in self._topology.links for end in link.ends]
        without = announcing.without or ()
        yield from _unknown((*path, "without"), [name for name in without if ":" not in name], self._edges, "edge")
        yield from _unknown((*path, "without"), [name for name in without if ":" in name], ends, "end of a link")
        yield from _unknown((*path, "only"), announcing.only or (), self._edges, "edge")
        yield from _unknown((*path, "vip"), [announcing.vip] if announcing.vip else [], [*self._services], "service")

    def _expect(self, path: Path, expect: Expect) -> Iterator[Finding]:
        streams = self._scenario.traffic
        yield from self._counts(path, expect, [stream.kind for stream in streams.values()], "this traffic")
        yield from _unknown((*path, "streams"), expect.streams, list(streams), "stream")
        for name, counts in expect.streams.items():
            if name in streams:
                kind = streams[name].kind
                yield from self._counts((*path, "streams", name), counts, [kind], f"'{name}', which is {kind}")
        yield from _unknown((*path, "share"), expect.share, self._edges, "edge")
        nodes = [node.name for node in self._plan.nodes.values()]
        yield from _unknown((*path, "keeps"), expect.keeps, nodes, "node")
        for key, rows in (("reasons", expect.reasons), ("events", expect.events)):
            yield from _unknown((*path, key), rows, [*self._edges, ALL], "edge")
        labels = [reason.label for reason in Reason if reason]
        for edge, reasons in expect.reasons.items():
            yield from _unknown((*path, "reasons", edge), reasons, labels, "drop reason")
        yield from self._routes((*path, "routes"), expect)
        if isinstance(expect.digests, dict):
            sites = sorted({self._plan.nodes[edge].site for edge in self._edges})
            yield from _unknown((*path, "digests"), expect.digests, sites, "site with edges")

    def _counts(self, path: Path, counts: Counts, kinds: Collection[str], who: str) -> Iterator[Finding]:
        for name, sources in EVIDENCE.items():
            if getattr(counts, name) is not None and not set(kinds) & set(sources):
                yield (*path, name), f"{name} cannot be judged of {who}: expected {_either(sources)}"

    def _routes(self, path: Path, expect: Expect) -> Iterator[Finding]:
        routers = [router.name for router in self._plan.having(Role.ROUTER)]
        prefixes = [f"{vip}/{vip.max_prefixlen}" for vip in self._plan.vips]
        yield from _unknown(path, expect.routes, routers, "router")
        for router, rows in expect.routes.items():
            yield from _unknown((*path, router), rows, prefixes, "VIP prefix")
            if router in routers:
                near = [peer.name for _, peer in self._plan.neighbours(self._plan.nodes[router])]
                for prefix, hops in rows.items():
                    yield from _unknown((*path, router, prefix), hops, near, f"neighbour of {router}")

    def _repetitions(self, steps: Sequence[str]) -> Iterator[Finding]:
        over = self._scenario.over_repetitions
        kinds = [stream.kind for stream in self._scenario.traffic.values()]
        for name in ("broken", "failed"):
            if getattr(over, name) is not None and not set(kinds) & set(EVIDENCE[name]):
                yield (
                    ("over_repetitions", name),
                    f"{name} cannot be judged of this traffic: expected {_either(EVIDENCE[name])}",
                )
        yield from _unknown(("over_repetitions", "steps"), over.steps, steps, "step")


_RECEIVERS = ("backend", "proxy")


def fault_of(move: Inject) -> Fault:
    """The fault that a step injects. The file's settings were checked when it was read."""
    return faults.KINDS[move.fault].model_validate(dict(move.settings))


def port_of(service: ServicePlan, kind: str) -> int | None:
    """The first port of a service that traffic of a kind can go to, None where there is none."""
    wanted = Protocol.TCP if kind in _TCP_KINDS else Protocol.UDP
    return next((port for protocol, port in service.ports if protocol is wanted), None)


def _unknown(path: Path, given: Collection[str], valid: Sequence[str], what: str) -> Iterator[Finding]:
    for number, name in enumerate(given):
        if name not in valid:
            place = (*path, name if isinstance(given, dict) else number)
            yield place, f"there is no {what} '{name}'{nearest(name, list(valid))}"


def _either(words: Sequence[str]) -> str:
    return " or ".join(words)
