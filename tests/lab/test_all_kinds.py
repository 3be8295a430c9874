"""Traffic of the kinds that the two-site lab serves, and the observers beside it; an edge dies under it.

The lab has no service that hands out connection ids: QUIC-like flows are tested in `test_traffic_kinds`.
"""

import time
from collections.abc import Iterator

import pytest

from lab.addressing import NodePlan, Role
from lab.job.convergence import expected, routers
from lab.observe.flowtap.edges import Edges
from lab.observe.flowtap.tap import FlowTap
from lab.observe.rates import RateWatch
from lab.observe.reasons import ReasonWatch
from lab.observe.sessions import SessionWatch
from lab.observe.taps import edge_taps
from lab.traffic.load import Load, mark_all, series_of
from lab.traffic.plan import Bulk, Connections, Datagrams, Plan, Requests
from tests.lab import machine
from tests.lab.running import EDGES, RunningLab, running_lab

pytestmark = [*machine.marks, pytest.mark.calm]

BACKENDS = ("a-b1", "a-b2", "a-b3", "b-b1", "b-b2", "b-b3")


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running_lab("fh-kinds") as running:
        yield running


def plan_of(client: NodePlan) -> Plan:
    source, source6 = str(client.client_address), str(client.client_address6)
    return Plan(
        {
            "web": Requests(source, "http://203.0.113.10/", 50.0),
            "held": Connections(source, "203.0.113.11:7000", 100, interval=0.1),
            "held6": Connections(source6, "[2001:db8:1::11]:7000", 20, interval=0.1),
            "down": Bulk(source, "http://203.0.113.10/files/bytes", "down", 500_000, interval=0.5),
            "up": Bulk(source, "http://203.0.113.10/upload", "up", 500_000, interval=0.5),
            "ping": Datagrams(source, "203.0.113.11:7000", 50, 0.05),
        }
    )


@pytest.fixture(scope="module")
def loads(lab: RunningLab) -> Iterator[list[Load]]:
    started = []
    try:
        for client in lab.plan.having(Role.CLIENT):
            started.append(Load.start(lab.runtime, client.name, plan_of(client), "python3"))
        for load in started:
            load.wait_ready(30.0)
        mark_all(started, "before")
        yield started
    finally:
        for load in started:
            load.close()


def overflowed(lab: RunningLab, backend: str) -> int:
    """Datagrams that a backend's sockets had no room for."""
    rows = lab.runtime.exec(backend, ["grep", "^Udp:", "/proc/net/snmp"]).stdout.splitlines()
    names, numbers = (row.split() for row in rows[:2])
    return int(numbers[names.index("RcvbufErrors")])


def test_every_request_has_an_edge_and_a_backend_and_an_edge_kill_shows(lab: RunningLab, loads: list[Load]) -> None:
    netns = {router: lab.runtime.netns(router) for router in routers(lab.plan)}
    taps = edge_taps(lab.plan)
    with FlowTap(netns, taps, lab.plan.vips) as tap, RateWatch(netns, taps, every=0.5) as rates:
        sessions, reasons = SessionWatch(lab.runtime, routers(lab.plan)), ReasonWatch(lab.runtime, sorted(EDGES))
        [load.requests() for load in loads]
        time.sleep(2.0)
        calm = mark_all(loads, "calm")
        done = [each for load in loads for each in load.requests()]
        edges = Edges()
        edges.learn(tap.mark())
        told, counted = sessions.mark(), reasons.mark()

        assert {name for name, facts in calm.items() if facts.broken or facts.failed or facts.transfers_failed} == set()
        assert calm["down"].transfers >= 4 and calm["up"].transfers >= 4
        assert calm["ping"].received > 1000
        assert calm["ping"].lost == 0
        assert {name: errors for name in BACKENDS if (errors := overflowed(lab, name))} == {}
        assert {each.stream for each in done} == {"web", "down", "up"}
        for placed in edges.place(done):
            site = placed.done.backend[:1]
            assert placed.edges and {edge[:1] for edge in placed.edges} == {site}, placed
        flows = {flow: where for load in loads for flow, where in edges.flows(load.flows()).items()}
        assert len(flows) == 2 * (100 + 20 + 50)
        assert all(len(at) == 1 and at[0][0] == backend[0] for at, backend in flows.values()), flows
        assert told.total_drops == 0
        assert all(session.up for each in told.sessions.values() for session in each.values())
        assert set(counted.counts) == EDGES and counted.unknown == {}
        assert counted.total["tx"] > 1000
        per_edge = {edge: sum(p for _, e, p, _ in rates.series() if e == edge) for edge in EDGES}
        for edge, packets in per_edge.items():
            assert packets == pytest.approx(counted.counts[edge]["rx"], rel=0.5), "the router counts what the edge got"

        since = int(time.monotonic()) - 1
        lab.runtime.kill("a-e1")
        lab.watch.wait_for(expected(lab.plan, EDGES - {"a-e1"}), 10.0)
        time.sleep(2.0)
        killed = mark_all(loads, "killed")
        edges.learn(tap.mark())
        told, counted = sessions.mark(), reasons.mark()
        assert not killed["held"].broken and not killed["ping"].broken
        gaps = [gap for name in ("held", "held6", "ping") for gap in killed[name].gaps]
        assert gaps and all(gap.flow and edges.of(gap.flow) for gap in gaps), "what went through the dead edge waited"
        assert {name: told.drops[name] for name in ("a-r1", "a-r2")} == {"a-r1": 1, "a-r2": 1}
        assert counted.unknown == {"a-e1": "the node does not run"}
        assert {sample.stream for sample in series_of(loads, since)} == set(killed)
        lab.runtime.start("a-e1")
