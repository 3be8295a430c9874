"""Graceful restart together with BFD (FRR): a restart changes nothing, and a dead node is gone in BFD's time."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from bgp.bfd.config import BfdConfig
from bgp.bfd.gate import Source
from tests.bgp.bfd import node as bfd
from tests.bgp.conftest import EdgeDaemon
from tests.bgp.fib_watch import FibWatch, watching
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.net import run_in, star
from tests.bgp.routers.router import eventually, running, stays
from tests.bgp.test_attributes_frr import ASN, BOTH, VIP, node
from tests.bgp.test_peers_frr import V4, conf

pytestmark = [pytest.mark.kernel, pytest.mark.calm]

RESTART = 12
PACE = 0.1
"""Seconds between BFD's packets; three missing ones are a dead node. Slow, for bfdd on a busy machine."""
GATE = (Source("daemon", 0.05, 20),)
Bench = tuple[Frr, EdgeDaemon, bfd.Node, FibWatch]


@pytest.fixture
def bench() -> Iterator[Bench]:
    profile = ("bfd", "profile edge", "receive-interval 100", "transmit-interval 100", "exit", "exit")
    lines = (f"remote-as {ASN}", "timers 3 9", "passive", "bfd", "bfd profile edge")
    with star("fh-grb", ["e1"]) as net, running(Frr, net, conf({V4: lines}, *profile)) as router:
        assert isinstance(router, Frr)
        leaf = net.leaves["e1"]
        wanted = BfdConfig((bfd.peer4(leaf, tx=PACE, rx=PACE),), GATE)
        with (
            bfd.node(leaf.netns, wanted) as detector,
            node(router, leaf, graceful_restart=RESTART) as daemon,
            watching(net.netns, *BOTH) as watch,
        ):
            daemon.order(declare={prefix: {} for prefix in BOTH})
            eventually(lambda: set(router.learned()) == set(BOTH), 20, lambda: f"{router.learned()}")
            detector.up("r4")
            eventually(lambda: daemon.state()["converged"], 10, "not converged")
            # FRR puts another BFD session in place of the first when BGP comes up, and ends BGP with it, once.
            eventually(lambda: watch.quiet(3.0) and set(router.learned()) == set(BOTH), 30, "the routes never stay")
            detector.up("r4")
            yield router, daemon, detector, watch


def test_a_restart_under_bfd_changes_no_route(bench: Bench) -> None:
    _, daemon, detector, watch = bench
    seen, old = len(watch.changes), daemon.state()["exabgp"]
    os.kill(old, signal.SIGKILL)
    eventually(lambda: daemon.state()["exabgp"] not in (None, old), 5, "no new ExaBGP")
    eventually(lambda: daemon.state()["peers"]["r1"] and daemon.state()["converged"], 15, "no new session")
    stays(lambda: watch.since(seen) == [], 1.0, "a route changed")
    detector.up("r4")


def test_a_gate_that_closes_while_the_session_is_up_takes_the_routes(bench: Bench) -> None:
    _, _, detector, watch = bench
    seen = len(watch.changes)
    detector.order(beat=[])
    eventually(lambda: watch.gone(VIP, seen), 5, "BFD went down and the route stays")


def test_a_node_that_falls_silent_is_gone_in_bfd_s_time(bench: Bench) -> None:
    _, daemon, _, watch = bench
    seen, began = len(watch.changes), time.monotonic()
    run_in(daemon.netns, "ip", "link", "set", "eth0", "down")  # no FIN, as when a machine dies
    eventually(lambda: watch.gone(VIP, seen), 5, "the route stays")
    gone = watch.gone(VIP, seen)
    assert gone is not None and gone - began < 3, "that was hold_time"
    run_in(daemon.netns, "ip", "link", "set", "eth0", "up")


def test_what_is_stale_already_outlives_bfd_in_frr(bench: Bench) -> None:
    """FRR 8.4 does not look at BFD once the session is closed: the restart time is the bound, so keep it short."""
    _, daemon, detector, watch = bench
    seen, pid = len(watch.changes), daemon.state()["exabgp"]
    daemon.signal(signal.SIGSTOP)  # nobody starts ExaBGP again
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    detector.order(beat=[])
    eventually(lambda: watch.gone(VIP, seen), RESTART + 5, "the stale route stays for ever")
    gone = watch.gone(VIP, seen)
    assert gone is not None and RESTART - 2 < gone - began < RESTART + 3
