"""Graceful restart (RFC 4724) with FRR as the helper: what it saves, what it costs, what takes routes away."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.bgp.conftest import EdgeDaemon
from tests.bgp.fib_watch import FibWatch, watching
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.net import Leaf, star
from tests.bgp.routers.router import eventually, running
from tests.bgp.test_attributes_frr import ASN, BOTH, VIP, node
from tests.bgp.test_peers_frr import V4, conf

pytestmark = pytest.mark.kernel

RESTART = 10
RESTARTS = 3
Bench = tuple[Frr, EdgeDaemon, FibWatch, Leaf]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A node with graceful restart, both VIPs announced."""
    lines = (f"remote-as {ASN}", "timers 1 3", "passive")
    with star("fh-gr", ["e1"]) as net, running(Frr, net, conf({V4: lines})) as router:
        assert isinstance(router, Frr)
        with node(router, net.leaves["e1"], graceful_restart=RESTART) as daemon, watching(net.netns, *BOTH) as watch:
            yield router, daemon, watch, net.leaves["e1"]


@pytest.fixture(autouse=True)
def announced(bench: Bench) -> None:
    router, daemon, _, _ = bench
    daemon.order(declare={prefix: {} for prefix in BOTH})
    eventually(lambda: set(router.learned()) == set(BOTH), 20, lambda: f"{router.learned()}; {daemon.events[-9:]}")
    eventually(lambda: daemon.state()["converged"], 10, "not converged")


def new_session(router: Frr, sessions: int) -> bool:
    peer = router.ask(f"show bgp neighbors {V4} json")[V4]
    return bool(peer["bgpState"] == "Established" and peer["connectionsEstablished"] > sessions)


def sessions(router: Frr) -> int:
    return int(router.ask(f"show bgp neighbors {V4} json")[V4]["connectionsEstablished"])


def test_what_is_not_announced_again_goes_with_the_end_of_rib(bench: Bench) -> None:
    _, daemon, watch, _ = bench
    seen, began = len(watch.changes), time.monotonic()
    os.kill(daemon.state()["exabgp"], signal.SIGKILL)
    daemon.order(declare={BOTH[1]: {}})
    eventually(lambda: watch.gone(VIP, seen), 5, "the VIP that is not announced again stays")
    gone = watch.gone(VIP, seen)
    assert gone is not None and gone - began < 4
    assert watch.since(seen) == [(VIP, False)], "the other one was touched"


@pytest.mark.calm
def test_a_stopped_relay_still_loses_what_nobody_vouches_for(bench: Bench) -> None:
    _, daemon, watch, _ = bench
    seen = len(watch.changes)
    os.kill(daemon.state()["relay"], signal.SIGSTOP)
    daemon.order(declare={BOTH[1]: {}})
    eventually(lambda: watch.gone(VIP, seen), 6, lambda: f"{daemon.events[-9:]}")
    assert watch.since(seen) == [(VIP, False)], "the other one was touched"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_exabgp_that_is_restarted_changes_no_route(bench: Bench, number: signal.Signals) -> None:
    router, daemon, watch, _ = bench
    seen = len(watch.changes)
    for _ in range(RESTARTS):
        before, pid = sessions(router), daemon.state()["exabgp"]
        os.kill(pid, number)
        eventually(lambda then=before: new_session(router, then), 15, "no new session")  # type: ignore[misc]
        eventually(lambda: daemon.state()["converged"], 5, "not converged")
        time.sleep(0.5)
    assert watch.since(seen) == []
    assert set(router.learned()) == set(BOTH)


def test_without_bfd_a_dead_node_s_routes_stay_for_the_whole_restart_time(bench: Bench) -> None:
    """Why `fairhop check` refuses graceful restart without BFD."""
    _, daemon, watch, _ = bench
    seen, pid = len(watch.changes), daemon.state()["exabgp"]
    daemon.signal(signal.SIGSTOP)  # nobody starts ExaBGP again
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: watch.gone(VIP, seen), RESTART + 10, "the VIP stayed for ever")
    gone = watch.gone(VIP, seen)
    assert gone is not None and RESTART - 2 < gone - began < RESTART + 3
    daemon.signal(signal.SIGCONT)
