"""Routers that run their kits, and an edge that lies: nothing foreign comes in, and the honest edge keeps its place.

`Scene.wrong` says what must hold whatever happens; each test says what else must. Rows are those of docs/routers.md.
"""

import socket
import struct
from collections.abc import Iterator

import pytest

from tests.bgp.kits.scene import ASNS, MAKES, OF_E1, OF_E1_6, OF_E2, SHARED, SHARED6, Scene, calm, playing
from tests.bgp.kits.speaker import attribute, good_attributes, nlri
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.gobgp import Gobgp
from tests.bgp.routers.router import eventually, stays

pytestmark = pytest.mark.kernel

SETTLE = 0.4
"""Seconds in which a router would have acted on an UPDATE: ten times what any of them needs here."""


@pytest.fixture(scope="module", params=MAKES)
def running_scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with playing(request.param) as scene:
        yield scene


@pytest.fixture
def scene(running_scene: Scene) -> Scene:
    return calm(running_scene)


def refused(scene: Scene) -> None:
    """For a while nothing is wrong, and the hostile edge carries nothing."""

    def quiet() -> bool:
        held = [prefix for prefix in scene.prefixes() if scene.hop("e2", prefix) in scene.hops(prefix)]
        return not held and not scene.wrong()

    stays(quiet, SETTLE, f"{scene.wrong()}, {scene.prefixes()}")


def proves_itself(scene: Scene) -> None:
    """The session that was refused is alive and believed where it is honest: the refusal was the policy's."""
    scene.hostile.announce(OF_E2)
    scene.becomes(OF_E2, "e2")


@pytest.mark.parametrize(
    "prefix",
    [
        *("0.0.0.0/0", "203.0.113.0/24", "203.0.113.10/31", OF_E1, "192.0.2.1/32", "10.77.1.0/31", "10.0.0.0/8"),
        *("::/0", "2001:db8:1::/64", OF_E1_6, "2001:db8:bad::1/128", "fd77:0:0:1::/127"),
    ],
)
def test_r1_nothing_but_its_own_vips(scene: Scene, prefix: str) -> None:
    scene.hostile.announce(prefix)
    refused(scene)
    proves_itself(scene)


@pytest.mark.parametrize(
    "path",
    [
        *([ASNS["e2"], 65000], [65000], [ASNS["e1"]], [ASNS["e2"], ASNS["e1"]], [ASNS["e2"], 65101, ASNS["e2"]]),
        *([ASNS["e2"], 64512, ASNS["e2"]], [], [ASNS["e2"], 23456], [ASNS["e2"], 0]),
    ],
)
def test_r5_no_path_but_its_own_as(scene: Scene, path: list[int]) -> None:
    scene.hostile.announce(SHARED, OF_E2, SHARED6, path=path)
    refused(scene)
    if not scene.hostile.closed.is_set():  # an empty path or AS 0 may cost the liar its session (RFC 4271 6.3)
        proves_itself(scene)


def test_r5_no_set_in_the_path(scene: Scene) -> None:
    attributes = good_attributes(ASNS["e2"], "10.77.2.1")
    attributes[2] = attribute(0x40, 2, struct.pack("!BBIBBII", 2, 1, ASNS["e2"], 1, 2, ASNS["e2"], 65000))
    scene.hostile.raw_update(b"".join(attributes.values()), SHARED, OF_E2)
    refused(scene)


def test_r5_its_own_as_may_be_prepended(scene: Scene) -> None:
    scene.hostile.announce(OF_E2, path=[ASNS["e2"]] * 3)
    scene.becomes(OF_E2, "e2")
    scene.hostile.announce(SHARED, path=[ASNS["e2"]] * 3)
    refused_from_set = scene.hop("e2")
    stays(lambda: refused_from_set not in scene.hops(SHARED), SETTLE, "a longer path joined the set")


@pytest.mark.parametrize(("prefix", "next_hop"), [(SHARED, "10.77.1.1"), (SHARED6, "fd77:0:0:1::1"), (OF_E2, "10.77.3.1")])
def test_r5_no_next_hop_but_itself(scene: Scene, prefix: str, next_hop: str) -> None:
    """FRR puts the peer's address in its place, BIRD and GoBGP refuse the route: traffic goes to no third party."""
    scene.hostile.announce(prefix, next_hop=next_hop)
    stays(lambda: not scene.wrong(), SETTLE, str(scene.wrong()))
    if isinstance(scene.router, Frr):
        assert scene.hop("e2", prefix) in scene.hops(prefix)
    else:
        refused(scene)


def test_r5_of_its_communities_only_the_own_set_stays(scene: Scene) -> None:
    attributes = good_attributes(ASNS["e2"], "10.77.2.1")
    attributes[8] = attribute(0xC0, 8, struct.pack("!HHHHHH", 65000, 1, 65535, 666, 65101, 100))
    attributes[16] = attribute(0xC0, 16, struct.pack("!BBHI", 0, 2, 65101, 7))  # route target
    attributes[32] = attribute(0xC0, 32, struct.pack("!III", 65101, 1, 2))
    scene.hostile.raw_update(b"".join(attributes.values()), OF_E2)
    scene.becomes(OF_E2, "e2")
    assert communities(scene, OF_E2) == {"no-export"}


def communities(scene: Scene, prefix: str) -> set[str]:
    """All communities, of each kind, that the router's table has for the prefix; the well-known ones by name."""
    names = {"65535:65281": "no-export", "65535:0": "graceful-shutdown", "65535:666": "blackhole"}
    if isinstance(scene.router, Frr):
        path = scene.router.paths(prefix)[0]
        kinds = [path[key]["string"].split() for key in ("community", "largeCommunity", "extendedCommunity") if key in path]
        words = {"noExport": "no-export", "gracefulShutdown": "graceful-shutdown"}
        return {words.get(word, word) for kind in kinds for word in kind}
    if isinstance(scene.router, Gobgp):
        by_type = {one["type"]: one for one in scene.router.paths(prefix)[0]["attrs"]}
        standard = [f"{value >> 16}:{value & 0xFFFF}" for value in by_type.get(8, {}).get("communities", [])]
        others = [str(by_type[kind]) for kind in (16, 32) if kind in by_type]
        return {names.get(word, word) for word in standard} | set(others)
    text = scene.router.birdc(f"show route for {prefix} all")  # type: ignore[attr-defined]
    found = {line.split(":")[0].strip(): line.split(":", 1)[1].split() for line in text.splitlines() if "community:" in line}
    pairs = [word.strip("()").replace(",", ":") for words in found.values() for word in words]
    return {names.get(pair, pair) for pair in pairs}


def test_r6_an_edge_is_told_nothing(scene: Scene) -> None:
    scene.hostile.announce(SHARED, OF_E2, SHARED6)
    scene.becomes(OF_E2, "e2")
    stays(lambda: not scene.wrong(), SETTLE, str(scene.wrong()))
    assert (scene.honest.prefixes_learned(), scene.hostile.prefixes_learned()) == (0, 0)


def test_r8_a_route_that_came_from_elsewhere_is_refused(scene: Scene) -> None:
    """ONLY_TO_CUSTOMER from a customer is a leak (RFC 9234 5). GoBGP does not know roles: its row says so."""
    attributes = good_attributes(ASNS["e2"], "10.77.2.1")
    attributes[35] = attribute(0xC0, 35, struct.pack("!I", 65000))
    scene.hostile.raw_update(b"".join(attributes.values()), OF_E2)
    if isinstance(scene.router, Gobgp):
        scene.becomes(OF_E2, "e2")
    else:
        refused(scene)
        proves_itself(scene)


def test_r10_a_blackhole_is_nobodys_to_ask_for_unless_named(scene: Scene) -> None:
    scene.hostile.announce(SHARED, OF_E1, OF_E2, communities=[(65535, 666)])
    scene.becomes(SHARED, "e1", "e2")
    stays(lambda: not scene.wrong(), SETTLE, str(scene.wrong()))
    assert "blackhole" not in communities(scene, OF_E2)


def test_r16_ten_flaps_suppress_nothing(scene: Scene) -> None:
    for _ in range(10):
        scene.hostile.announce(SHARED)
        scene.becomes(SHARED, "e1", "e2", within=2)
        scene.hostile.withdraw(SHARED)
        scene.becomes(SHARED, "e1", within=2)
    scene.hostile.announce(SHARED)
    scene.becomes(SHARED, "e1", "e2", within=2)


def test_r17_edges_of_different_ases_share_the_load(scene: Scene) -> None:
    scene.hostile.announce(SHARED, SHARED6)
    scene.becomes(SHARED, "e1", "e2")
    scene.becomes(SHARED6, "e1", "e2")
    assert ASNS["e1"] != ASNS["e2"]


def test_graceful_shutdown_leaves_the_set_and_keeps_the_route(scene: Scene) -> None:
    scene.hostile.announce(SHARED, OF_E2, SHARED6)
    scene.becomes(SHARED, "e1", "e2")
    scene.hostile.announce(SHARED, OF_E2, SHARED6, communities=[(65535, 0)])
    if isinstance(scene.router, Gobgp):  # its table keeps both, its choice is e1
        best = lambda: scene.router.accepted(SHARED)[0]  # type: ignore[attr-defined]  # noqa: E731
        eventually(lambda: best() == scene.hop("e1"), 5, "the drained edge is still preferred")
        low = lambda path: any(a["type"] == 5 and a["value"] == 1 for a in path["attrs"])  # noqa: E731
        assert [low(path) for path in scene.router.paths(SHARED)] == [False, True]
    else:
        scene.becomes(SHARED, "e1")
        scene.becomes(SHARED6, "e1")
    scene.becomes(OF_E2, "e2")
    assert "graceful-shutdown" in communities(scene, OF_E2)


def ten_thousand() -> Iterator[list[str]]:
    everything = [f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}/32" for n in range(10_000)]
    for start in range(0, len(everything), 500):
        yield everything[start : start + 500]


@pytest.mark.parametrize("make", MAKES)
def test_r2_an_edge_that_announces_the_world_is_cut_off_alone(make: str) -> None:
    with playing(make) as scene:
        scene.hostile.announce(OF_E2)
        scene.becomes(OF_E2, "e2")
        for batch in ten_thousand():
            if scene.hostile.closed.is_set():
                break
            try:
                scene.hostile.announce(*batch)
            except OSError:
                break
            assert scene.wrong() == []
        if not scene.hostile.closed.is_set():
            try:
                scene.hostile.announce(SHARED)  # FRR counts at an announcement that passes its policy
            except OSError:
                pass
        assert scene.hostile.closed.wait(5), "the session is still there"
        eventually(lambda: scene.hops(OF_E2) == {}, 5, "the routes of the session are still there")
        stays(lambda: not scene.wrong(), 1.0, str(scene.wrong()))


CASES = {
    # name: (attributes replaced or removed, what RFC 7606 wants: withdrawn or discarded)
    "origin of no known value": ({1: attribute(0x40, 1, b"\x09")}, "withdrawn"),
    "origin of two octets": ({1: attribute(0x40, 1, b"\0\0")}, "withdrawn"),
    "origin flagged optional": ({1: attribute(0xC0, 1, b"\0")}, "withdrawn"),
    "no origin": ({1: b""}, "withdrawn"),
    "as_path of an unknown segment": ({2: attribute(0x40, 2, struct.pack("!BBI", 9, 1, 65120))}, "withdrawn"),
    "as_path longer than its attribute": ({2: attribute(0x40, 2, struct.pack("!BBI", 2, 5, 65120))}, "withdrawn"),
    "as_path of a segment without ASNs": ({2: attribute(0x40, 2, struct.pack("!BBIBB", 2, 1, 65120, 2, 0))}, "withdrawn"),
    "no as_path": ({2: b""}, "withdrawn"),
    "next_hop of three octets": ({3: attribute(0x40, 3, b"\x0a\x4d\x02")}, "withdrawn"),
    "no next_hop": ({3: b""}, "withdrawn"),
    "next_hop 0.0.0.0": ({3: attribute(0x40, 3, bytes(4))}, "withdrawn"),
    "next_hop multicast": ({3: attribute(0x40, 3, socket.inet_aton("224.0.0.5"))}, "withdrawn"),
    "med of three octets": ({4: attribute(0x80, 4, b"\0\0\0")}, "withdrawn"),
    "med flagged transitive": ({4: attribute(0xC0, 4, bytes(4))}, "withdrawn"),
    "communities of five octets": ({8: attribute(0xC0, 8, bytes(5))}, "withdrawn"),
    "communities of no octet": ({8: attribute(0xC0, 8, b"")}, "withdrawn"),
    "extended communities of seven octets": ({16: attribute(0xC0, 16, bytes(7))}, "withdrawn"),
    "large communities of eleven octets": ({32: attribute(0xC0, 32, bytes(11))}, "withdrawn"),
    "atomic_aggregate with a value": ({6: attribute(0x40, 6, b"\0")}, "discarded"),
    "aggregator of five octets": ({7: attribute(0xC0, 7, bytes(5))}, "discarded"),
    "origin twice": ({98: attribute(0x40, 1, b"\x02")}, "discarded"),
    "unknown optional attribute": ({99: attribute(0xC0, 99, b"x")}, "discarded"),
}


def outcome(scene: Scene) -> str:
    """What became of e2 and of its announced VIP, once that has settled."""
    at = f"{scene.make}"
    try:
        eventually(lambda: scene.hostile.closed.is_set() or scene.hops(OF_E2) == {}, 0.7, at)
    except pytest.fail.Exception:
        return "kept"
    return "reset" if scene.hostile.closed.wait(0.3) else "withdrawn"


@pytest.mark.parametrize("case", CASES)
def test_r13_a_malformed_update_costs_its_prefix_not_its_session(scene: Scene, case: str) -> None:
    replaced, wanted = CASES[case]
    scene.hostile.announce(OF_E2)
    scene.becomes(OF_E2, "e2")
    attributes = good_attributes(ASNS["e2"], "10.77.2.1") | replaced
    scene.hostile.raw_update(b"".join(attributes.values()), OF_E2)
    found = outcome(scene)
    print("R13", scene.make, "|", case, "|", wanted, "|", found)
    assert scene.wrong() == []
    assert found == {"withdrawn": "withdrawn", "discarded": "kept"}[wanted]
    proves_itself(scene)


HOPELESS = {
    "attributes longer than the message": b"\0\0\xff\xff" + nlri(OF_E2),
    "withdrawn routes longer than the message": b"\xff\xff",
    "a prefix of 33 bits": b"",  # made below
    "a prefix that ends early": b"",
    "an attribute longer than all": b"\0\0\0\x04\x40\x01\x99\0" + nlri(OF_E2),
    "three octets": b"\0\0\0",
}


@pytest.mark.parametrize("make", MAKES)
def test_r13_a_hopeless_update_costs_at_most_its_own_session(make: str) -> None:
    """Bytes from which no prefix can be read: RFC 7606 3(j) has the session closed, and no other."""
    honest = b"".join(good_attributes(ASNS["e2"], "10.77.2.1").values())
    start = b"\0\0" + struct.pack("!H", len(honest)) + honest
    made = {"a prefix of 33 bits": start + b"\x21\xcb\0\x71\x0c\0", "a prefix that ends early": start + b"\x20\xcb\0"}
    for case, body in (HOPELESS | made).items():
        with playing(make) as scene:
            scene.hostile.announce(OF_E2)
            scene.becomes(OF_E2, "e2")
            scene.hostile.raw(body)
            found = outcome(scene)
            print("R13", make, "|", case, "|", found)
            stays(lambda scene=scene: not scene.wrong(), SETTLE, f"{case}: {scene.wrong()}")  # type: ignore[misc]
            assert found != "kept", case
