"""Kits that run: who may have a session at all, how it ends, and what the options do. Rows are of docs/routers.md."""

import os
import signal
import struct
import time
from ipaddress import ip_network

import pytest

from bgp.bfd.config import BfdConfig
from bgp.kits.model import Bfd, Options
from tests.bgp.bfd.node import node, peer4
from tests.bgp.kits.scene import ASNS, KEYS, MAKES, OF_E1, OF_E2, SHARED, SHARED6, VIPS, Scene, playing
from tests.bgp.kits.speaker import EdgeSpeaker, attribute, good_attributes
from tests.bgp.kits.spoof import CEASE, counter, forge
from tests.bgp.routers.gobgp import Gobgp
from tests.bgp.routers.router import eventually, stays

pytestmark = pytest.mark.kernel

KERNEL = ["frr", "bird"]
"""The makes that install routes by themselves."""
AGGREGATE = "203.0.113.0/24"


@pytest.mark.parametrize("make", MAKES)
def test_r3_r4_no_session_with_a_wrong_key_or_from_further_away(make: str) -> None:
    with playing(make) as scene:
        scene.hostile.close()
        for how in ({"md5": "not-the-key"}, {"md5": None}, {"md5": KEYS["e1"]}, {"md5": KEYS["e2"], "ttl": 254}):
            try:
                speaker = EdgeSpeaker(scene.leaf("e2"), ASNS["e2"], **how)
            except TimeoutError:
                continue
            try:
                stays(lambda: scene.router.session("10.77.2.1") != "Established", 1.0, f"established with {how}")
            finally:
                speaker.close()
        assert scene.wrong() == []
        scene.session("e2")  # the control: the true key and TTL work


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize(
    ("gtsm", "md5", "ttl", "survives"),
    [
        (False, False, 64, False),  # the control: without guards one segment ends the session
        (True, False, 254, True),
        (True, False, 255, False),  # the control of the last: GTSM asks for nothing but the distance
        (False, True, 255, True),
        (True, True, 254, True),
    ],
)
def test_r3_r4_a_forged_segment_ends_nothing(make: str, gtsm: bool, md5: bool, ttl: int, survives: bool) -> None:
    with playing(make, gtsm=gtsm, has_md5=md5) as scene:
        outsider, victim = scene.leaf("out"), scene.honest
        before = counter(outsider, scene.router, "TCPMinTTLDrop"), counter(outsider, scene.router, "TCPMD5NotFound")
        for flags, payload in (("R", b""), ("PA", CEASE)) if survives else (("R", b""),):
            forge(outsider, victim, ttl, flags, payload)
        if not survives:
            eventually(lambda: scene.wrong() != [], 3, "the forged segment was none: this test shows nothing")
            return
        stays(lambda: not scene.wrong(), 1.0, str(scene.wrong()))
        dropped = counter(outsider, scene.router, "TCPMinTTLDrop"), counter(outsider, scene.router, "TCPMD5NotFound")
        gone = [after - earlier for after, earlier in zip(dropped, before, strict=True)]
        assert sum(gone) >= 2, f"the kernel counted {gone}, expected both segments"


@pytest.mark.parametrize("make", MAKES)
def test_r11_an_edge_that_falls_silent_is_gone_after_the_hold_time(make: str) -> None:
    with playing(make) as scene:
        scene.hostile.announce(OF_E2, SHARED)
        scene.becomes(OF_E2, "e2")
        scene.hostile.mute = True
        began = time.monotonic()
        scene.becomes(SHARED, "e1", within=scene.kit.hold_time + 2)
        assert time.monotonic() - began > 1, "that was not the hold time"
        assert scene.wrong() == []


def test_r3_frr_with_bfd_has_its_gtsm_in_nftables() -> None:
    """And the session comes up, which asks for packets of the router with a TTL of 255."""
    with playing("frr", has_md5=False, bfd=Bfd(300, 300, 3)) as scene:
        forge(scene.leaf("out"), scene.honest, 254, "R")
        forge(scene.leaf("out"), scene.honest, 254, "PA", CEASE)
        stays(lambda: not scene.wrong(), 1.0, str(scene.wrong()))
        forge(scene.leaf("out"), scene.honest, 255, "R")
        eventually(lambda: scene.wrong() != [], 3, "the forged segment was none: this test shows nothing")


@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "graceful-restart"])
@pytest.mark.parametrize("make", KERNEL)
def test_r11_r12_an_edge_whose_bfd_falls_silent_is_gone_at_once(make: str, restarts: bool) -> None:
    """Also where it promised to restart: its BGP goes on speaking, so only BFD can tell."""
    timers = Bfd(100, 100, 3)
    with playing(make, Options(graceful_restart=restarts), bfd=timers) as scene:
        leaf = scene.leaf("e2")
        scene.hostile.close()
        bfd = BfdConfig((peer4(leaf, tx=timers.receive_ms / 1000, rx=timers.transmit_ms / 1000),), ())
        with node(leaf.netns, bfd) as process:
            speaker = scene.session("e2", restarts=restarts)
            process.up("r4")
            speaker.announce(OF_E2, SHARED)
            scene.becomes(OF_E2, "e2")
            stays(lambda: scene.hop("e2") in scene.hops(SHARED), 1.0, "BFD fails while all is well")
            os.kill(process.pid, signal.SIGSTOP)
            eventually(lambda: scene.hops(OF_E2) == {}, 2, "BFD is down and the route is still there")
            assert scene.wrong() == []


@pytest.mark.parametrize("make", MAKES)
def test_r12_a_promise_to_restart_keeps_no_route(make: str) -> None:
    with playing(make) as scene:
        scene.hostile.close()
        speaker = scene.session("e2", restarts=True)
        speaker.announce(OF_E2, SHARED)
        scene.becomes(OF_E2, "e2")
        speaker.close()
        eventually(lambda: scene.hops(OF_E2) == {}, 2, "the route outlived its session")
        assert scene.wrong() == []


@pytest.mark.parametrize("make", KERNEL)
def test_r12_with_bfd_and_by_choice_it_does(make: str) -> None:
    """The control of the test before; without BFD the kit refuses that choice (test_kits)."""
    with playing(make, Options(graceful_restart=True), bfd=Bfd(300, 300, 3)) as scene:
        scene.hostile.close()
        speaker = scene.session("e2", restarts=True)
        speaker.announce(OF_E2)
        scene.becomes(OF_E2, "e2")
        speaker.close()
        stays(lambda: scene.hop("e2") in scene.hops(OF_E2), 1.5, "the route did not wait for the restart")


@pytest.mark.parametrize("make", MAKES)
def test_r6_an_edge_is_told_nothing(make: str) -> None:
    """Not even of what may leave the network: NO_EXPORT is not what holds it back."""
    with playing(make, Options(site_scope=False)) as scene:
        scene.hostile.announce(SHARED, OF_E2, SHARED6)
        scene.becomes(OF_E2, "e2")
        stays(lambda: not scene.wrong(), 1.5, str(scene.wrong()))
        assert (scene.honest.told(), scene.hostile.told()) == (0, 0)


@pytest.mark.parametrize("make", KERNEL)
def test_r7_with_every_edge_gone_the_aggregate_stays(make: str) -> None:
    six = "2001:db8:1::/48"
    with playing(make, Options(aggregates=(ip_network(AGGREGATE), ip_network(six)))) as scene:

        def standing() -> bool:
            return set(scene.router.kernel("type", "blackhole")) == {AGGREGATE, six}

        eventually(standing, 5, lambda: f"no aggregate: {scene.router.kernel()}")
        for speaker in (scene.honest, scene.hostile):
            speaker.close()
        eventually(lambda: scene.hops(SHARED) == {} == scene.hops(SHARED6), 5, "the VIPs are still there")
        assert standing()


@pytest.mark.parametrize("make", KERNEL)
def test_r10_a_named_edge_may_have_its_own_vip_discarded(make: str) -> None:
    with playing(make, Options(blackhole_edges=frozenset({"e2"}))) as scene:
        scene.hostile.announce(SHARED, OF_E2, OF_E1, SHARED6, communities=[(65535, 666)])
        for prefix in (SHARED, OF_E2, SHARED6):
            eventually(lambda prefix=prefix: discards(scene, prefix), 5, f"{prefix}: {scene.hops(prefix)}")  # type: ignore[misc]
        assert scene.hop("e1") in scene.hops(OF_E1), "someone else's was discarded"
        scene.honest.announce(OF_E1, communities=[(65535, 666)])
        stays(lambda: scene.hop("e1") in scene.hops(OF_E1), 0.5, "an edge that is not named had its VIP discarded")
        scene.hostile.withdraw(SHARED, OF_E2, SHARED6)
        scene.becomes(SHARED, "e1")


def discards(scene: Scene, prefix: str) -> bool:
    """Whether the kernel drops what goes to the prefix, by a blackhole route or through one."""
    target = prefix.partition("/")[0]
    done = scene.router.route_get(target)
    return "blackhole" in done or "Invalid argument" in done or "unreachable" in done.lower()


def share_of_e1(scene: Scene, prefix: str) -> float:
    hops = scene.hops(prefix)
    return hops[scene.hop("e1", prefix)] / sum(hops.values())


def test_r17_bird_gives_the_weights_that_it_was_told() -> None:
    with playing("bird", weights={"e1": 30, "e2": 10}) as scene:
        scene.hostile.announce(SHARED, SHARED6)
        for prefix in (SHARED, SHARED6):
            scene.becomes(prefix, "e1", "e2")
            assert share_of_e1(scene, prefix) == pytest.approx(0.75, abs=0.02), scene.hops(prefix)


@pytest.mark.parametrize(("trusted", "share"), [(True, 0.75), (False, 0.5)])
def test_r17_frr_gives_the_weights_that_edges_claim_only_if_it_is_to_trust_them(trusted: bool, share: float) -> None:
    with playing("frr", Options(trust_bandwidth=trusted)) as scene:
        for speaker, name, bandwidth in ((scene.honest, "e1", 3e9), (scene.hostile, "e2", 1e9)):
            attributes = good_attributes(ASNS[name], scene.hop(name))
            attributes[16] = attribute(0xC0, 16, struct.pack("!BBHf", 0x40, 4, ASNS[name], bandwidth))
            speaker.raw_update(b"".join(attributes.values()), SHARED)
        scene.becomes(SHARED, "e1", "e2")
        wanted = pytest.approx(share, abs=0.02)
        eventually(lambda: share_of_e1(scene, SHARED) == wanted, 3, lambda: f"{scene.hops(SHARED)}")


@pytest.mark.parametrize("make", MAKES)
def test_vips_may_leave_where_the_operator_lets_them(make: str) -> None:
    """Without site scope an edge's own NO_EXPORT is still kept, and none is added."""
    from tests.bgp.kits.test_attacks import communities  # noqa: PLC0415

    with playing(make, Options(site_scope=False)) as scene:
        for sent, kept in (([], set()), ([(65535, 65281), (65000, 1)], {"no-export"})):
            scene.hostile.announce(OF_E2, communities=sent)
            scene.becomes(OF_E2, "e2")
            eventually(lambda kept=kept: communities(scene, OF_E2) == kept, 3, f"{sent}")  # type: ignore[misc]


def test_the_makes_are_all_here() -> None:
    assert set(VIPS) == set(KEYS) == {"e1", "e2"}
    assert MAKES["gobgp"][0] is Gobgp
