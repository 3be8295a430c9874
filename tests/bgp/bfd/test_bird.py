"""The process against BIRD in a namespace: up, silent death, drain, gate, restarts, forgery, keys."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bgp.bfd.auth import BfdAuth
from bgp.bfd.config import BfdConfig, to_plain
from bgp.bfd.gate import Source
from bgp.bfd.packet import AuthType, ControlPacket, State, encode
from lab.observe.inside import inside
from tests.bgp.bfd.endure import run_first
from tests.bgp.bfd.node import Node, node, peer4, peer6
from tests.bgp.routers.bird import Bird
from tests.bgp.routers.net import Leaf, needs, star
from tests.bgp.routers.router import eventually, running, stays
from tests.lab.bgp_speaker import Speaker

pytestmark = [pytest.mark.kernel, pytest.mark.calm]

GATE = (Source("daemon", 0.02, 5), Source("forwarder", 0.02, 5))
SECRET = "c4n-ary-key"

CONFIG = """\
log stderr all;
router id 10.77.1.0;
protocol device {{}}
protocol bfd {{
  debug {{ events }};
  interface "*" {{ min rx interval {ms} ms; min tx interval {ms} ms; multiplier 3; {auth} }};
  neighbor 10.77.1.1;
  neighbor fd77:0:0:1::1;
}}
"""
PLAIN = CONFIG.format(ms=10, auth="")
WITH_BGP = """\
protocol kernel { ipv4 { export all; }; }
protocol bgp edge {
  local 10.77.1.0 as 65101;
  neighbor 10.77.1.1 as 65110;
  passive on;
  bfd on;
  ipv4 { import all; export none; };
}
"""


class Pair:
    """BIRD and our node on one link."""

    def __init__(self, bird: Bird, leaf: Leaf) -> None:
        self.bird, self.leaf = bird, leaf

    def states(self) -> dict[str, tuple[str, float, float]]:
        """What BIRD sees: (state, interval, timeout) of each of our addresses."""
        lines = re.findall(r"^(\S+) +eth1 +(\w+) +\S+ +([\d.]+) +([\d.]+)$", self.bird.birdc("show bfd sessions"), re.M)
        return {address: (state, float(interval), float(timeout)) for address, state, interval, timeout in lines}

    def state(self) -> str:
        return self.states().get("10.77.1.1", ("none", 0, 0))[0]

    def is_(self, state: str, limit: float = 10.0) -> float:
        """Seconds until BIRD sees our IPv4 session in a state."""
        began = time.monotonic()
        eventually(lambda: self.state() == state, limit, lambda: f"BIRD says {self.states()}, expected {state}")
        return time.monotonic() - began

    def is_down(self, limit: float) -> float:
        """Seconds until BIRD's session is not Up; with a held end that says Down it is Init."""
        began = time.monotonic()
        eventually(lambda: self.state() != "Up", limit, lambda: f"BIRD says {self.states()}")
        return time.monotonic() - began

    def downs(self) -> int:
        return len(re.findall("from Up to Down", self.bird.log))


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    needs("bird")
    with star("fh-bfd", ["e1"]) as net, running(Bird, net, PLAIN) as bird:
        assert isinstance(bird, Bird)
        run_first(bird.processes["bird"].pid, 10)  # a router would not share this machine
        yield Pair(bird, net.leaves["e1"])


def config(leaf: Leaf, **more: object) -> BfdConfig:
    return replace(BfdConfig((peer4(leaf), peer6(leaf)), GATE), **more)  # type: ignore[arg-type]


@pytest.fixture
def edge(pair: Pair) -> Iterator[Node]:
    with node(pair.leaf.netns, config(pair.leaf)) as made:
        made.up("r4")
        made.up("r6")
        pair.is_("Up")
        yield made


def test_both_families_come_up_at_the_pace_that_was_asked_for(pair: Pair, edge: Node) -> None:
    states = pair.states()
    assert {address: state for address, (state, _, _) in states.items()} == {"10.77.1.1": "Up", "fd77:0:0:1::1": "Up"}
    eventually(
        lambda: set(pair.states().values()) == {("Up", 0.01, 0.03)}, 5, lambda: f"not negotiated: {pair.states()}"
    )
    for name in ("r4", "r6"):
        eventually(lambda n=name: edge.session(n)["remote_state"] == "up", 3, "the peer is not up")  # type: ignore[misc]
        found = edge.session(name)
        assert found["tx_interval"] == 0.01
        assert found["detection_time"] == pytest.approx(0.03)
        assert found["refused"] == {}


def test_the_process_has_no_privilege_and_no_secret_in_sight(edge: Node) -> None:
    pid = edge.pid
    status = Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"^Uid:\s+65534\s+65534\s+65534\s+65534$", status, re.M)
    assert re.findall(r"^Cap\w+:\s+(\d+)$", status, re.M) == ["0" * 16] * 5
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    remarks = edge.ask()["state"]["remarks"]
    policy = os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK
    assert policy == 6 or any("SCHED_DEADLINE" in remark for remark in remarks), "neither on time nor a word about it"


def test_other_timers_are_negotiated_while_up(pair: Pair, edge: Node) -> None:
    downs, mark = pair.downs(), len(edge.events)
    for tx in (0.04, 0.01):
        slower = tuple(replace(peer, tx=tx) for peer in edge.config.peers)
        plain = BfdConfig(slower, GATE)
        edge.order(config={**to_plain(plain), "user": plain.user, "priority": plain.priority})
        expected = ("Up", 0.01, pytest.approx(3 * tx))
        eventually(lambda e=expected: pair.states()["10.77.1.1"] == e, 5, lambda: f"{pair.states()}")  # type: ignore[misc]
        eventually(lambda t=tx: edge.session("r4")["tx_interval"] == t, 5, "our pace did not change")  # type: ignore[misc]
    assert (pair.downs(), edge.changes("r4", mark)) == (downs, [])


def test_a_stopped_process_is_a_dead_node_to_the_router_and_is_replaced(pair: Pair, edge: Node) -> None:
    pid = edge.pid
    os.kill(pid, signal.SIGSTOP)
    assert pair.is_down(1.0) < 0.5, "30 ms of detection, and the time to ask"
    eventually(lambda: edge.session("r4")["state"] == "unknown", 2, "a silent process is believed")
    eventually(lambda: edge.ask()["pid"] not in (pid, None), 10, "a stopped process was not replaced")
    edge.up("r4", 15)
    assert any("silent" in str(event.get("reason")) for event in edge.events)
    pair.is_("Up")


def test_a_killed_process_comes_back(pair: Pair, edge: Node) -> None:
    pid = edge.pid
    os.kill(pid, signal.SIGKILL)
    pair.is_down(1.0)
    pair.is_("Up", 15)
    assert edge.pid != pid
    assert any("SIGKILL" in str(event.get("reason")) for event in edge.events)


def test_a_drain_says_admin_down_and_comes_back(pair: Pair, edge: Node) -> None:
    edge.order(admin_down=True)
    pair.is_down(1.0)
    eventually(lambda: edge.session("r4")["state"] == "admin down", 2, "no AdminDown")
    edge.order(admin_down=False)
    edge.up("r4")
    pair.is_("Up")


@pytest.mark.parametrize("how", ["stopped", "admin down"])
def test_the_router_takes_the_route_away_with_the_session(pair: Pair, edge: Node, how: str) -> None:
    """AdminDown counts too, although RFC 5882 3.2 would keep the route: it must come after the withdrawals."""
    vip, leaf = "203.0.113.10/32", pair.leaf
    pair.bird.configure(PLAIN + WITH_BGP)
    try:
        with Speaker(leaf.netns, leaf.address, leaf.address6, leaf.router, 65110) as speaker:
            assert speaker.established(10)
            speaker.announce(vip)
            eventually(lambda: vip in pair.bird.learned(), 5, "the route was not learned")
            stays(lambda: vip in pair.bird.learned(), 0.5, "the route went by itself")
            if how == "stopped":
                os.kill(edge.pid, signal.SIGSTOP)
            else:
                edge.order(admin_down=True)
            eventually(lambda: vip not in pair.bird.learned(), 1.0, "the route is still there")
    finally:
        pair.bird.configure(PLAIN)


@pytest.mark.parametrize("dead", ["daemon", "forwarder"])
def test_a_source_that_stops_beating_takes_the_node_down_before_the_detection_time(pair: Pair, dead: str) -> None:
    slow = (peer4(pair.leaf, tx=2.0, rx=0.01),)  # BIRD would wait six seconds for us
    with node(pair.leaf.netns, BfdConfig(slow, GATE)) as edge:
        edge.up("r4")
        eventually(lambda: pair.states()["10.77.1.1"][2] == 6.0, 5, lambda: f"{pair.states()}")
        edge.order(beat=[source.name for source in GATE if source.name != dead])
        assert pair.is_down(2.0) < 0.6, "100 ms of gate, and the time to ask"
        eventually(
            lambda: [c for c in edge.changes("r4") if c[:2] == ("up", "held down") and f"of the {dead} " in c[2]],
            2,
            lambda: f"{edge.changes('r4')}",
        )
        edge.order(beat=[source.name for source in GATE])
        edge.up("r4")
        pair.is_("Up")


def test_a_wedged_daemon_takes_the_node_down(pair: Pair, edge: Node) -> None:
    edge.order(freeze=1.5)
    assert pair.is_down(1.2) < 0.8
    edge.up("r4")
    assert any("no heartbeat" in reason for _, _, reason in edge.changes("r4"))


def test_a_planned_restart_of_the_daemon_goes_unnoticed(pair: Pair, edge: Node) -> None:
    pid, downs = edge.pid, pair.downs()
    edge.order(hold=10)
    edge.stop(admin_down=False)
    stays(lambda: pair.state() == "Up", 0.5, "it went down without a daemon, although held")
    edge.start()
    edge.up("r4")
    assert (edge.pid, pair.downs()) == (pid, downs)
    edge.order(hold=0)
    stays(lambda: pair.state() == "Up", 0.5, "it went down when the hold ended")


def test_a_killed_daemon_takes_the_node_down_and_the_next_one_up(pair: Pair, edge: Node) -> None:
    pid = edge.pid
    edge.kill()
    assert pair.is_down(1.0) < 0.6
    edge.events.clear()
    edge.start()
    edge.up("r4")
    assert edge.pid == pid, "the process was not adopted"
    assert any(new == "held down" for _, new, _ in edge.changes("r4")), "what happened meanwhile is told"
    pair.is_("Up")


def test_a_restarted_router_comes_back(pair: Pair, edge: Node) -> None:
    pair.bird.stop()
    eventually(lambda: edge.session("r4")["state"] == "down", 2, "nobody noticed")
    pair.bird.start(PLAIN)
    run_first(pair.bird.processes["bird"].pid, 10)
    edge.up("r4", 15)
    edge.up("r6", 15)


def test_a_forged_packet_moves_nothing(pair: Pair, edge: Node) -> None:
    """A Down with the right discriminators from the right address, but from further away than the next hop."""
    found, mark = edge.session("r4"), len(edge.events)
    forged = ControlPacket(State.DOWN, found["remote_discriminator"], found["local_discriminator"], 10_000, 10_000, 3)

    def send(ttl: int, data: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            sender.bind((str(pair.leaf.router), 0))
            for _ in range(20):
                sender.sendto(data, (str(pair.leaf.address), 3784))

    inside(pair.bird.netns, lambda: send(254, encode(forged)))
    inside(pair.bird.netns, lambda: send(255, b"\x20" * 24))
    eventually(lambda: edge.ask()["state"]["refused"].get("ttl") == 20, 3, lambda: f"{edge.ask()['state']['refused']}")
    assert edge.session("r4")["state"] == "up" and edge.changes("r4", mark) == []
    inside(pair.bird.netns, lambda: send(255, encode(forged)))
    eventually(lambda: edge.changes("r4", mark), 3, "the check of the TTL is all that stood in the way, and it did not")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (AuthType.PASSWORD, "simple"),
        (AuthType.SHA1, "keyed sha1"),
        (AuthType.METICULOUS_SHA1, "meticulous keyed sha1"),
    ],
)
def test_the_right_key_comes_up_and_the_wrong_one_never(pair: Pair, kind: AuthType, word: str) -> None:
    auth = f'authentication {word}; password "{SECRET}" {{ id 5; }};'
    pair.bird.configure(CONFIG.format(ms=50, auth=auth))
    try:
        right = BfdAuth(kind, 5, SECRET.encode())
        with node(
            pair.leaf.netns, BfdConfig((peer4(pair.leaf, auth=right), peer6(pair.leaf, auth=right)), GATE)
        ) as one:
            one.up("r4")
            one.up("r6")
            pair.is_("Up")
            stays(lambda: one.session("r4")["state"] == "up", 0.5, "an authenticated session did not last")
            assert one.session("r4")["refused"] == {} and not one.session("r4")["downs"]
            files = b"".join(path.read_bytes() for path in one.run_dir.iterdir() if path.is_file())
            seen = Path(f"/proc/{one.pid}/cmdline").read_bytes() + Path(f"/proc/{one.pid}/environ").read_bytes()
            assert SECRET.encode() not in files + seen
        with node(pair.leaf.netns, BfdConfig((peer4(pair.leaf, auth=replace(right, secret=b"wrong")),), GATE)) as one:
            eventually(
                lambda: one.session("r4").get("refused", {}).get("auth_value", 0) >= 2, 10, "nothing was refused"
            )
            assert one.session("r4")["state"] != "up" and pair.state() != "Up"
    finally:
        pair.bird.configure(PLAIN)
