"""The announcer against a real ExaBGP and a real FRR: every expectation is asked from the router's kernel or bgpd."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bgp.process import start_ticks
from bgp.route import GRACEFUL_SHUTDOWN
from tests.bgp.conftest import HOP6, OTHER, SECRET, VIP, VIP6, EdgeDaemon, FrrRouter, eventually

pytestmark = pytest.mark.lab

LIMIT = 3.0
"""Seconds that a VIP may outlive whoever vouched for it."""


@pytest.fixture(autouse=True)
def announced(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    """Every test starts from both VIPs announced and acknowledged, and without the IPv6 one that others leave.

    The kernel follows an acknowledgement 50 ms later: what comes then would be taken for the next test's.
    """
    daemon.order(feed=None)
    daemon.announce(VIP, OTHER)
    settled(frr, daemon)
    eventually(lambda: not frr.installed(VIP6), 5, "the IPv6 VIP is not withdrawn")


def settled(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    eventually(lambda: frr.installed(VIP) and frr.installed(OTHER), 8, "the VIPs are not both announced")
    eventually(lambda: daemon.state()["converged"], 5, "the announcer has not converged")


def gone(frr: FrrRouter, prefix: str, after: Callable[[], None]) -> float:
    """Do `after`, and return the seconds until the router's kernel dropped the prefix; at most LIMIT."""
    before = len(frr.changes)
    began = time.monotonic()
    after()

    def dropped() -> list[float]:
        return [at for at, p, installed in frr.changes[before:] if p == prefix and not installed]

    eventually(dropped, LIMIT, f"{prefix} is still in the router's kernel")
    return dropped()[0] - began


def process(daemon: EdgeDaemon, which: str) -> int:
    pid = daemon.state()[which]
    assert isinstance(pid, int)
    return pid


def test_withdraw_is_fast_and_keeps_the_session_and_the_other_vip(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    sessions, changes = frr.sessions(), len(frr.changes)
    took = gone(frr, VIP, lambda: daemon.announce(OTHER))
    assert took < 0.5
    assert frr.sessions() == sessions == ("Established", sessions[1])
    assert [p for _, p, _ in frr.changes[changes:]] == [VIP]


def test_graceful_shutdown_arrives_as_the_well_known_community(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    sessions = frr.sessions()
    assert frr.communities(VIP) == []
    daemon.announce(VIP, OTHER, communities=(GRACEFUL_SHUTDOWN,))
    eventually(lambda: frr.communities(VIP) == ["gracefulShutdown"], 2, "the community did not arrive")
    assert frr.sessions() == sessions


def test_a_stopped_daemon_loses_its_leases_and_gets_them_back(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    sessions, exabgp = frr.sessions(), process(daemon, "exabgp")
    took = gone(frr, VIP, lambda: daemon.signal(signal.SIGSTOP))
    assert not frr.installed(OTHER)
    daemon.signal(signal.SIGCONT)
    settled(frr, daemon)
    assert took > 1.0, "the lease was not honoured"
    assert frr.sessions() == sessions
    assert process(daemon, "exabgp") == exabgp, "a daemon that was away must not blame the relay"


def test_one_vip_without_heartbeat_goes_alone(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    changes = len(frr.changes)
    gone(frr, VIP, lambda: daemon.order(feed=[OTHER]))
    time.sleep(0.5)
    assert [p for _, p, _ in frr.changes[changes:]] == [VIP]


def test_a_killed_relay_is_replaced(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    relay = process(daemon, "relay")
    os.kill(relay, signal.SIGKILL)
    eventually(lambda: process_or_none(daemon, "relay") not in (None, relay), 3, "no new relay came")
    settled(frr, daemon)


def test_a_new_relay_without_a_daemon_withdraws_at_once(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    relay = process(daemon, "relay")
    daemon.signal(signal.SIGSTOP)
    took = gone(frr, VIP, lambda: os.kill(relay, signal.SIGKILL))
    assert took < 1.0, "that was the lease, not the new relay"
    daemon.signal(signal.SIGCONT)


def test_a_stopped_relay_costs_exabgp_its_life(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    relay, exabgp = process(daemon, "relay"), process(daemon, "exabgp")
    gone(frr, VIP, lambda: os.kill(relay, signal.SIGSTOP))
    settled(frr, daemon)
    assert process(daemon, "exabgp") != exabgp
    assert start_ticks(relay) is None, "the stopped relay was left behind"


def test_a_killed_exabgp_takes_its_routes_along_and_is_restarted(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    exabgp = process(daemon, "exabgp")
    assert gone(frr, VIP, lambda: os.kill(exabgp, signal.SIGKILL)) < 0.5
    settled(frr, daemon)


def test_a_stopped_exabgp_is_killed_and_restarted(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    exabgp = process(daemon, "exabgp")
    gone(frr, VIP, lambda: os.kill(exabgp, signal.SIGSTOP))
    settled(frr, daemon)
    assert start_ticks(exabgp) is None, "ExaBGP was left behind"


def test_a_daemon_restarted_within_the_lease_changes_no_route(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    exabgp, relay, sessions, changes = (
        process(daemon, "exabgp"),
        process(daemon, "relay"),
        frr.sessions(),
        len(frr.changes),
    )
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    daemon.start()
    daemon.announce(VIP, OTHER)
    eventually(lambda: daemon.state()["converged"], 3, "the announcer has not converged")
    time.sleep(2.5)  # longer than a lease that nobody renewed
    assert frr.changes[changes:] == []
    assert frr.sessions() == sessions
    assert (process(daemon, "exabgp"), process(daemon, "relay")) == (exabgp, relay)


def test_a_killed_daemon_is_outlived_by_the_session_and_not_by_the_routes(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    sessions = frr.sessions()
    gone(frr, VIP, lambda: daemon.signal(signal.SIGKILL))
    daemon.wait()
    assert not frr.installed(OTHER)
    assert frr.sessions() == sessions
    daemon.start()
    daemon.announce(VIP, OTHER)
    settled(frr, daemon)
    assert frr.sessions() == sessions


def all_three(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    daemon.announce(VIP, OTHER, VIP6)
    eventually(lambda: frr.installed(VIP6), 8, "the IPv6 VIP is not announced")
    settled(frr, daemon)


def test_an_ipv6_vip_is_announced_and_withdrawn_on_the_ipv4_session(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    sessions, changes = frr.sessions(), len(frr.changes)
    all_three(frr, daemon)
    assert frr.route(VIP6).split()[:3] == [VIP6.removesuffix("/128"), "via", HOP6]
    assert gone(frr, VIP6, lambda: daemon.announce(VIP, OTHER)) < 0.5
    assert frr.sessions() == sessions == ("Established", sessions[1])
    assert [p for _, p, _ in frr.changes[changes:]] == [VIP6, VIP6]


def test_an_ipv6_vip_is_de_preferred_by_the_same_community(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    all_three(frr, daemon)
    assert frr.communities(VIP6) == []
    daemon.announce(VIP, OTHER, VIP6, communities=(GRACEFUL_SHUTDOWN,))
    eventually(lambda: frr.communities(VIP6) == ["gracefulShutdown"], 2, "the community did not arrive")


def test_an_ipv6_vip_without_heartbeat_goes_alone(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    all_three(frr, daemon)
    changes = len(frr.changes)
    gone(frr, VIP6, lambda: daemon.order(feed=[VIP, OTHER]))
    time.sleep(0.5)
    assert [p for _, p, _ in frr.changes[changes:]] == [VIP6]


def test_an_ipv6_vip_comes_back_with_a_new_session_unless_withdrawn(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    all_three(frr, daemon)
    gone(frr, VIP6, lambda: os.kill(process(daemon, "exabgp"), signal.SIGKILL))
    eventually(lambda: frr.installed(VIP6), 8, "the IPv6 VIP did not come back")
    gone(frr, VIP6, lambda: daemon.announce(VIP, OTHER))
    gone(frr, VIP, lambda: os.kill(process(daemon, "exabgp"), signal.SIGKILL))
    changes = len(frr.changes)
    settled(frr, daemon)
    time.sleep(0.3)
    assert VIP6 not in [p for _, p, _ in frr.changes[changes:]]


def test_the_md5_key_is_in_no_log_and_no_process_list(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    assert SECRET in (daemon.run_dir / "exabgp.conf").read_text(), "the session runs without a key"
    places = [path for path in daemon.run_dir.iterdir() if path.is_file() and path.suffix != ".conf"]
    for which in ("exabgp", "relay"):
        places += [Path(f"/proc/{process(daemon, which)}/{file}") for file in ("cmdline", "environ")]
    assert daemon.run_dir / "exabgp.log" in places
    assert [str(place) for place in places if SECRET.encode() in place.read_bytes()] == []


def test_an_orderly_stop_withdraws_before_the_session_ends(frr: FrrRouter, daemon: EdgeDaemon) -> None:
    exabgp, seen = process(daemon, "exabgp"), len(daemon.events)
    took = gone(frr, VIP, lambda: daemon.order(stop=True))
    assert took < 0.5
    daemon.wait()
    assert start_ticks(exabgp) is None, "ExaBGP was left behind"
    told = [(event["event"], event["new"]) for event in daemon.events[seen:] if "event" in event]
    assert told.index((f"prefix {VIP}", "withdrawn")) < told.index(("exabgp", "stopped"))
    daemon.start()


def process_or_none(daemon: EdgeDaemon, which: str) -> int | None:
    pid = daemon.state()[which]
    return pid if isinstance(pid, int) else None
