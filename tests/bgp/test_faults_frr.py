"""What else may happen to the announcer, at the router's kernel (FRR): babbling, full pipes and disks, silence, resets.

`test_lab_frr` has the kills and stops. A VIP must be gone within 3 s of losing whoever vouched for it and all must
recover alone; only BGP's timers can tell of a silent router, in hold_time.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bgp.conftest import EdgeDaemon
from tests.bgp.fib_watch import FibWatch, watching
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.net import Leaf, run_in, star
from tests.bgp.routers.router import eventually, running, stays
from tests.bgp.test_attributes_frr import ASN, node, peer_of
from tests.bgp.test_peers_frr import V4, conf

pytestmark = pytest.mark.kernel

VIP, OTHER = "203.0.113.10/32", "203.0.113.11/32"
LIMIT = 3.0
"""Seconds that a VIP may outlive whoever vouched for it."""
HOLD = 3
Bench = tuple[Frr, EdgeDaemon, FibWatch, Leaf]


@pytest.fixture(scope="module")
def running_bench() -> Iterator[Bench]:
    with star("fh-fault", ["e1"]) as net, running(Frr, net, conf({V4: (f"remote-as {ASN}", "timers 1 3")})) as router:
        assert isinstance(router, Frr)
        leaf = net.leaves["e1"]
        with node(router, leaf, (VIP, OTHER), hold_time=HOLD) as daemon, watching(net.netns, VIP, OTHER) as watch:
            yield router, daemon, watch, leaf


@pytest.fixture
def bench(running_bench: Bench) -> Bench:
    """Every test starts from both VIPs announced and acknowledged."""
    _, daemon, _, _ = running_bench
    daemon.order(declare={VIP: {}, OTHER: {}})
    settled(running_bench)
    return running_bench


def settled(bench: Bench, limit: float = 20) -> None:
    router, daemon, _, _ = bench
    eventually(lambda: set(router.learned()) == {VIP, OTHER}, limit, lambda: f"not both: {daemon.events[-6:]}")
    eventually(lambda: daemon.state()["converged"], 10, "the announcer has not converged")


def gone(bench: Bench, prefix: str, after: Callable[[], None], limit: float = LIMIT) -> float:
    """Do `after`; the seconds until the router's kernel dropped the prefix, at most `limit`."""
    _, daemon, watch, _ = bench
    seen, began = len(watch.changes), time.monotonic()
    after()
    eventually(lambda: watch.gone(prefix, seen), limit, lambda: f"{prefix} is still there: {daemon.events[-6:]}")
    moment = watch.gone(prefix, seen)
    assert moment is not None
    return moment - began


def into(pid: int, data: bytes) -> None:
    """Write where the process writes its stdout, as if it did; as much as the pipe takes."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError, FileNotFoundError):
        fd = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK)
        try:
            while data:
                data = data[os.write(fd, data) :]
        finally:
            os.close(fd)


@pytest.mark.parametrize(
    "babble",
    [b"rubbish \xff\x00\n" * 40, b"announce nonsense\n" * 40, b"#\n" * 40, b"x" * 60_000],
    ids=["rubbish", "wrong commands", "unasked answers", "a line without end"],
)
def test_a_babbling_relay_is_replaced_and_holds_nothing_that_nobody_vouches_for(bench: Bench, babble: bytes) -> None:
    """By ExaBGP, or with it by itself; the daemon is silent meanwhile, or it would vouch again before FRR looks."""
    _, daemon, watch, _ = bench
    state, seen = daemon.state(), len(watch.changes)
    daemon.signal(signal.SIGSTOP)
    try:
        for _ in range(40):
            into(state["relay"], babble)
            time.sleep(0.02)
        eventually(lambda: watch.gone(VIP, seen), LIMIT, "the VIP is still there")
    finally:
        daemon.signal(signal.SIGCONT)
    settled(bench)
    assert daemon.state()["relay"] != state["relay"]


def test_a_relay_that_does_not_read_while_exabgp_answers_into_a_full_pipe(bench: Bench) -> None:
    _, daemon, _, _ = bench
    state = daemon.state()

    def stuff() -> None:
        os.kill(state["relay"], signal.SIGSTOP)
        for _ in range(20):
            into(state["relay"], b"#\n" * 1500)
            time.sleep(0.02)

    gone(bench, VIP, stuff)
    settled(bench)
    assert daemon.state()["exabgp"] != state["exabgp"]


def test_a_relay_in_a_crash_loop(bench: Bench) -> None:
    _, daemon, _, _ = bench

    def loop() -> None:
        for _ in range(8):
            with contextlib.suppress(ProcessLookupError, TypeError):
                os.kill(daemon.state()["relay"], signal.SIGKILL)
            time.sleep(0.25)

    gone(bench, VIP, loop)
    settled(bench, 30)


def test_a_wedged_event_loop_of_the_daemon(bench: Bench) -> None:
    router, daemon, _, _ = bench
    pid = daemon.state()["exabgp"]
    gone(bench, VIP, lambda: daemon.order(hang=4.0))
    assert router.session(V4) == "Established"
    settled(bench)
    assert daemon.state()["exabgp"] == pid, "a daemon that was away must not blame ExaBGP"


def test_a_router_that_resets_the_session_has_everything_again(bench: Bench) -> None:
    router, daemon, _, _ = bench
    pid = daemon.state()["exabgp"]

    def reset() -> None:
        router.vtysh(f"clear bgp ipv4 {V4}")

    gone(bench, VIP, reset)
    settled(bench)
    assert daemon.state()["exabgp"] == pid


def test_a_router_that_resets_every_session_at_once_costs_no_restart(bench: Bench) -> None:
    router, daemon, _, _ = bench
    pid = daemon.state()["exabgp"]
    for _ in range(6):
        router.vtysh(f"clear bgp ipv4 {V4}")
        time.sleep(0.3)
    settled(bench, 40)
    assert daemon.state()["exabgp"] == pid


@contextlib.contextmanager
def dropped(leaf: Leaf, *rules: str) -> Iterator[None]:
    """Drop BGP's packets at the edge."""
    run_in(leaf.netns, "nft", "add table inet fault")
    try:
        for hook, rule in (("input", rules[0]), ("output", rules[-1])):
            run_in(leaf.netns, "nft", f"add chain inet fault {hook} {{ type filter hook {hook} priority 0; }}")
            run_in(leaf.netns, "nft", f"add rule inet fault {hook} {rule}")
        yield
    finally:
        run_in(leaf.netns, "nft", "delete table inet fault")


def test_silence_between_the_two_ends_with_hold_time_and_comes_back(bench: Bench) -> None:
    router, daemon, watch, leaf = bench
    pid, seen, began = daemon.state()["exabgp"], len(watch.changes), time.monotonic()
    with dropped(leaf, "tcp sport 179 drop", "tcp dport 179 drop"):
        eventually(lambda: watch.gone(VIP, seen), HOLD + 2, "hold_time is over and the VIP is there")
        took = (watch.gone(VIP, seen) or 0) - began
        assert HOLD - 1.5 < took < HOLD + 1.5
        eventually(
            lambda: not daemon.state()["peers"]["r1"], HOLD + 2, "the node does not know that its session is gone"
        )
    settled(bench, 30)
    assert daemon.state()["exabgp"] == pid
    assert router.session(V4) == "Established"


def test_a_router_that_stops_reading_is_let_go_by_hold_time(bench: Bench) -> None:
    """A stopped bgpd acknowledges and reads nothing: its window closes, its keepalives stop (compare RFC 9687)."""
    router, daemon, _, _ = bench
    state = daemon.state()
    router.processes["bgpd"].send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: not daemon.state()["peers"]["r1"], HOLD + 3, "the session outlives hold_time")
        daemon.order(declare={OTHER: {}})
        eventually(lambda: daemon.state()["converged"], 3, "a router that does not read keeps others from being told")
    finally:
        router.processes["bgpd"].send_signal(signal.SIGCONT)
    eventually(lambda: set(router.learned()) == {OTHER}, 30, lambda: f"{router.learned()}")
    assert daemon.state()["exabgp"] == state["exabgp"]
    daemon.order(declare={VIP: {}, OTHER: {}})
    settled(bench, 30)


def test_the_lease_of_one_vip_is_its_own(bench: Bench) -> None:
    _, daemon, watch, _ = bench
    seen = len(watch.changes)
    try:
        gone(bench, VIP, lambda: daemon.order(feed=[OTHER]))
        stays(lambda: watch.since(seen) == [(VIP, False)], 1.0, "the other VIP was touched")
    finally:
        daemon.order(feed=None)


def test_a_full_disk_keeps_nobody_from_working() -> None:
    """The run dir is a tiny tmpfs that is filled up once the announcer runs: no log, no identity, and all goes on."""
    with star("fh-full", ["e1"]) as net, running(Frr, net, conf({V4: (f"remote-as {ASN}", "timers 1 3")})) as router:
        assert isinstance(router, Frr)
        leaf, directory = net.leaves["e1"], router.directory / "e1"
        directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)], check=True)
        try:
            with node(router, leaf, (VIP, OTHER), peers=[peer_of(leaf)]) as daemon, watching(net.netns, VIP) as watch:
                here = (router, daemon, watch, leaf)
                daemon.order(declare={VIP: {}, OTHER: {}})
                settled(here)
                fill(directory / "ballast")
                old = daemon.state()["exabgp"]
                assert gone(here, VIP, lambda: os.kill(old, signal.SIGKILL)) < 1
                settled(here)
                assert daemon.state()["exabgp"] != old
                told = [event for event in daemon.events if event.get("event") == "run dir"]
                assert told and "No space left on device" in told[-1]["new"]
                gone(here, VIP, lambda: os.kill(daemon.state()["relay"], signal.SIGSTOP))
                settled(here)
        finally:
            subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


THOUSAND = tuple(f"203.0.{112 + n // 250}.{n % 250}/32" for n in range(1000))


def test_a_thousand_vips_come_and_go_as_one() -> None:
    with star("fh-many", ["e1"]) as net, running(Frr, net, conf({V4: (f"remote-as {ASN}",)})) as router:
        assert isinstance(router, Frr)
        leaf = net.leaves["e1"]
        with node(router, leaf, THOUSAND) as daemon, watching(net.netns, *THOUSAND) as watch:
            eventually(lambda: daemon.state()["peers"] == {"r1": True}, 20, "no session")

            def seconds(act: Callable[[], None], installed: bool) -> float:
                seen, began = len(watch.changes), time.monotonic()
                act()

                def done() -> set[str]:
                    return {prefix for prefix, there in watch.since(seen) if there is installed}

                eventually(lambda: len(done()) == 1000, 20, lambda: f"{len(done())}; {daemon.events[-3:]}")
                took = watch.changes[-1][0] - began
                eventually(lambda: daemon.state()["converged"], 15, "not converged")
                return took

            everything: dict[str, object] = {prefix: {} for prefix in THOUSAND}
            on = seconds(lambda: daemon.order(declare=everything), True)
            off = seconds(lambda: daemon.order(declare={}), False)
            again = seconds(lambda: daemon.order(declare=everything), True)
            back = seconds(lambda: os.kill(daemon.state()["exabgp"], signal.SIGKILL), True)
            print(f"1,000 on {on:.2f} s, off {off:.2f} s, on again {again:.2f} s, back after a kill {back:.2f} s")
            assert on < 8 and again < 8 and off < 2 and back < 15  # 0.3, 0.3, 0.1 and 1.1 on an idle machine
