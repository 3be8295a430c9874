"""The process against FRR's bfdd, with bgpd beside it: what the router does with the route."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bgp.bfd.config import BfdConfig
from bgp.bfd.gate import Source
from tests.bgp.bfd.node import Node, node, peer4, peer6
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.net import Leaf, needs, star
from tests.bgp.routers.router import eventually, running, stays
from tests.lab.bgp_speaker import Speaker

pytestmark = [pytest.mark.kernel, pytest.mark.calm]

VIP = "203.0.113.10/32"
GATE = (Source("daemon", 0.02, 5), Source("forwarder", 0.02, 5))
MS = 200
"""FRR's bfdd is no real-time process: at 50 ms it has false downs of its own on a busy machine."""

CONFIG = f"""\
zebra work-queue 0
bfd
 profile edge
  detect-multiplier 3
  receive-interval {MS}
  transmit-interval {MS}
 exit
 peer fd77:0:0:1::1 local-address fd77:0:0:1::
  profile edge
 exit
exit
router bgp 65101
 bgp router-id 10.77.1.0
 no bgp ebgp-requires-policy
 neighbor 10.77.1.1 remote-as 65110
 neighbor 10.77.1.1 passive
 neighbor 10.77.1.1 timers 30 90
 neighbor 10.77.1.1 bfd
 neighbor 10.77.1.1 bfd profile edge
"""


class Scene:
    """FRR, the leaf, and an announced route that only BFD can take away within 90 seconds."""

    def __init__(self, frr: Frr, leaf: Leaf) -> None:
        self.frr, self.leaf = frr, leaf

    def peers(self) -> dict[str, dict[str, Any]]:
        return {peer["peer"]: peer for peer in self.frr.ask("show bfd peers json")}

    def installed(self) -> bool:
        return VIP in self.frr.learned()

    def gone(self, limit: float) -> float:
        began = time.monotonic()
        eventually(lambda: not self.installed(), limit, lambda: f"{VIP} is still there; {self.peers()}")
        return time.monotonic() - began

    def announce(self) -> Speaker:
        """FRR replaces its BFD session when BGP first establishes, and ends that one by it: a speaker tries again."""
        for _ in range(5):
            speaker = Speaker(self.leaf.netns, self.leaf.address, self.leaf.address6, self.leaf.router, 65110)
            with contextlib.suppress(OSError):  # ended between its OPEN and our UPDATE
                if speaker.established(10):
                    speaker.announce(VIP)
                    if not speaker.closed.wait(1.0) and self.installed():
                        return speaker
            speaker.close()
        pytest.fail(f"{VIP} was not learned; {self.peers()}")


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    needs("frr")
    with star("fh-bfd", ["e1"]) as net, running(Frr, net, CONFIG) as frr:
        assert isinstance(frr, Frr)
        yield Scene(frr, net.leaves["e1"])


@pytest.fixture
def edge(scene: Scene) -> Iterator[Node]:
    pace = MS / 1e3
    config = BfdConfig((peer4(scene.leaf, tx=pace, rx=pace), peer6(scene.leaf, tx=pace, rx=pace)), GATE)
    with node(scene.leaf.netns, config) as made:
        made.up("r4")
        made.up("r6")
        yield made


def test_both_families_are_up_at_both_ends_with_negotiated_times(scene: Scene, edge: Node) -> None:
    eventually(lambda: {peer["status"] for peer in scene.peers().values()} == {"up"}, 5, lambda: f"{scene.peers()}")
    assert set(scene.peers()) == {"10.77.1.1", "fd77:0:0:1::1"}
    eventually(lambda: _times(edge) == {"r4": (200, 600), "r6": (200, 600)}, 5, lambda: f"{_times(edge)}")
    heard = scene.peers()["10.77.1.1"]
    assert (heard["remote-transmit-interval"], heard["remote-receive-interval"]) == (MS, MS)
    assert heard["remote-detect-multiplier"] == 3


def _times(edge: Node) -> dict[str, tuple[int, int]]:
    """Our interval and our detection time by session, in milliseconds."""
    found = {name: edge.session(name) for name in ("r4", "r6")}
    return {name: (round(s["tx_interval"] * 1e3), round(s["detection_time"] * 1e3)) for name, s in found.items()}


def test_a_silent_node_loses_its_route_in_bfds_time(scene: Scene, edge: Node) -> None:
    with scene.announce():
        os.kill(edge.pid, signal.SIGSTOP)
        assert scene.gone(5) < 2.0, "600 ms of detection, and FRR's own time"


def test_a_wedged_forwarder_loses_the_route(scene: Scene, edge: Node) -> None:
    with scene.announce():
        edge.order(beat=["daemon"])
        assert scene.gone(3) < 1.0
        assert scene.peers()["10.77.1.1"]["status"] != "up"
        edge.order(beat=["daemon", "forwarder"])
        edge.up("r4")


def test_admin_down_takes_the_route_away_too(scene: Scene, edge: Node) -> None:
    """RFC 5882 3.2 would keep it; FRR 8.4 does not, so a drain says AdminDown when its routes are withdrawn."""
    with scene.announce():
        edge.order(admin_down=True)
        assert scene.gone(3) < 1.0
        assert scene.peers()["10.77.1.1"]["remote-diagnostic"] == "administratively down"
    edge.order(admin_down=False)
    edge.up("r4")


def test_without_a_word_from_bfd_the_route_is_left_to_bgp(scene: Scene, edge: Node) -> None:
    """The hold timer of 90 seconds is far away: what the tests above saw go was taken by BFD."""
    with scene.announce():
        stays(scene.installed, 1.0, "the route went by itself")


def test_admin_down_of_the_router_is_no_failure_to_us(scene: Scene, edge: Node) -> None:
    mark = len(edge.events)
    scene.frr.vtysh("configure terminal", "bfd", "profile edge", "shutdown")
    eventually(lambda: ("up", "down") in [c[:2] for c in edge.changes("r4", mark)], 3, lambda: f"{edge.events[mark:]}")
    down = edge.session("r4")["downs"][-1]
    assert (down["failure"], down["reason"]) == (False, "the peer says AdminDown")
    scene.frr.vtysh("configure terminal", "bfd", "profile edge", "no shutdown")
    edge.up("r4")
