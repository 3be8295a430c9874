"""The labs beside that of two sites, as they run: both families answer, an edge drains, a silent one is missed."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.addressing import LabPlan, Role
from lab.job import convergence
from lab.observe.taps import edge_taps
from tests.lab import labs, machine
from tests.lab.running import RunningLab, running_lab

pytestmark = machine.marks

LABS = ("one-site", "three-site", "spine-leaf", "ipv6-only")
# Asks each URL so many times, from a port of its own each; prints how often each backend answered.
ASK = """
import collections, json, sys, urllib.request
found = {}
for url in sys.argv[2:]:
    found[url] = collections.Counter()
    for _ in range(int(sys.argv[1])):
        found[url][json.loads(urllib.request.urlopen(url, timeout=5).read())["backend"]] += 1
print(json.dumps(found))
"""
SILENT_WITHIN = 0.3  # s from the freeze of a node to the last router's kernel: 3 x 60 ms, and what FRR takes


@pytest.fixture(scope="module", params=LABS)
def lab(request: pytest.FixtureRequest) -> Iterator[RunningLab]:
    with running_lab(f"t-{request.param}", labs.topology(request.param)) as running:
        yield running


def answers(lab: RunningLab, client: str, times: int) -> dict[str, dict[str, int]]:
    """URL of each family -> backend -> how many of `times` requests it answered."""
    service = next(service for service in lab.plan.services if service.name == "web")
    urls = [f"http://{service.vip}/", f"http://[{service.vip6}]/"]
    done = lab.runtime.exec(client, ["python3", "-c", ASK, str(times), *urls])
    assert done.returncode == 0, f"{client}: {done.stderr}"
    found: dict[str, dict[str, int]] = json.loads(done.stdout)
    return found


def backends_near(plan: LabPlan, client: str) -> set[str]:
    """The backends of the client's site; of one beyond transit those of the site that transit sends to."""
    site = plan.nodes[client].site or plan.having(Role.EDGE)[0].site
    return {backend.name for backend in plan.having(Role.BACKEND, site)}


def test_every_client_is_answered_in_both_families_by_its_nearest_site(lab: RunningLab) -> None:
    for client in lab.plan.having(Role.CLIENT):
        for url, counts in answers(lab, client.name, 8).items():
            assert sum(counts.values()) == 8, url
            assert set(counts) <= backends_near(lab.plan, client.name)


def test_a_drained_edge_is_gone_from_every_kernel_and_nobody_notices(lab: RunningLab) -> None:
    edge = lab.plan.having(Role.EDGE)[0].name
    lab.fairhop(edge, "drain", "node", "--reason", "test")
    lab.watch.wait_for(convergence.expected(lab.plan, lab.edges - {edge}), 15.0)
    client = lab.plan.having(Role.CLIENT)[0].name
    assert all(sum(counts.values()) == 8 for counts in answers(lab, client, 8).values())
    lab.undrain(edge)


@pytest.mark.parametrize("lab", ["three-site"], indirect=True)
def test_a_drained_site_sends_its_clients_to_the_nearest_other_one(lab: RunningLab) -> None:
    edges = [edge.name for edge in lab.plan.having(Role.EDGE, "c")]
    began = time.monotonic()
    for edge in edges:
        lab.fairhop(edge, "drain", "node", "--reason", "test")
    lab.watch.wait_for(convergence.expected(lab.plan, lab.edges - {*edges}), 20.0)
    assert all(event.hops for event in lab.watch.events(began)), "no router was ever without a route"
    near = {backend.name for backend in lab.plan.having(Role.BACKEND, "a")}
    for counts in answers(lab, "client-c1", 8).values():
        assert set(counts) <= near
    lab.undrain(*edges)


@pytest.mark.parametrize("lab", ["spine-leaf"], indirect=True)
def test_a_fabric_spreads_one_clients_flows_over_all_eight_edges(lab: RunningLab) -> None:
    before = sent_to_edges(lab)
    answers(lab, "client-a", 100)
    after = sent_to_edges(lab)
    assert {edge for edge in after if after[edge] > before[edge] + 50} == lab.edges, (before, after)


def sent_to_edges(lab: RunningLab) -> Counter[str]:
    """Edge -> packets that its routers have sent to it; BGP alone makes a few a second."""
    sent: Counter[str] = Counter()
    for tap in edge_taps(lab.plan):
        sent[tap.edge] += int(lab.shell(tap.router, f"cat /sys/class/net/{tap.interface}/statistics/tx_packets"))
    return sent


@pytest.mark.parametrize("lab", ["one-site"], indirect=True)
def test_the_silent_death_of_an_edge_is_noticed_in_time_and_nobody_else_dies(lab: RunningLab) -> None:
    """The whole node stops, links up and sessions open: only BFD can tell."""
    times = []
    for _ in range(3):  # a busy machine gets three tries
        node = next(node for node in lab.runtime.nodes() if node.name == "a-e1")
        frozen = _processes_of(node.pid)
        began = time.monotonic()
        _signal_all(frozen, signal.SIGSTOP)
        try:
            times.append(lab.route_time(began, lab.edges - {"a-e1"}))
        finally:
            _signal_all(frozen, signal.SIGCONT)
        lab.watch.wait_for(convergence.expected(lab.plan, lab.edges), 30.0)
        if times[-1] < SILENT_WITHIN:
            break
    assert min(times) < SILENT_WITHIN, times
    for router in ("a-r1", "a-r2"):
        assert down_counts(lab, router)["a-e2"] <= 1, "FRR replaces its first session once; no other may end"


def down_counts(lab: RunningLab, router: str) -> dict[str, int]:
    """Edge -> how often the router's BFD session with it went down."""
    done = lab.runtime.exec(router, ["vtysh", "-c", "show bfd peers counters json"])
    names = convergence.gateway_names(lab.plan)
    return {names[peer["peer"]]: peer["session-down"] for peer in json.loads(done.stdout)}


def _processes_of(pid: int) -> list[int]:
    """All processes of the node whose first one is `pid`; some have no trace of the lab in their environment."""
    space = Path(f"/proc/{pid}/ns/pid").readlink()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "ns/pid").readlink() == space:
                    found.append(int(entry.name))
    return found


def _signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        os.kill(pid, number)
