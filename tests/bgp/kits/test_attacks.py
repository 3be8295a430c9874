"""Routers that run their kits, and an edge that lies: nothing foreign comes in, and the honest edge keeps its place.

`Scene.wrong` says what must hold whatever happens; each test says what else must. Rows are those of docs/routers.md.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

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
    assert scene.carries("e1", SHARED), "else the next line shows nothing"
    assert [prefix for prefix in (*scene.prefixes(), OF_E2) if scene.carries("e2", prefix)] == []


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
    eventually(lambda: len(scene.router.accepted(SHARED)) == 2, 5, "the longer path was not accepted")
    if isinstance(scene.router, Gobgp):
        assert scene.router.accepted(SHARED)[0] == scene.hop("e1")
    else:
        stays(lambda: scene.hop("e2") not in scene.hops(SHARED), SETTLE, "a longer path joined the set")


@pytest.mark.parametrize(
    ("prefix", "next_hop"), [(SHARED, "10.77.1.1"), (SHARED6, "fd77:0:0:1::1"), (OF_E2, "10.77.3.1")]
)
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
    extended = struct.pack("!BBHIBBHf", 0, 2, 65101, 7, 0x40, 4, 65120, 1e9)  # a route target, a link bandwidth
    if not isinstance(scene.router, Gobgp):  # which cannot take away a colour: its row says so
        extended += struct.pack("!BBHI", 3, 11, 0, 7)
    attributes[16] = attribute(0xC0, 16, extended)
    attributes[32] = attribute(0xC0, 32, struct.pack("!III", 65101, 1, 2))
    scene.hostile.raw_update(b"".join(attributes.values()), OF_E2)
    scene.becomes(OF_E2, "e2")
    assert communities(scene, OF_E2) == {"no-export"}


def communities(scene: Scene, prefix: str) -> set[str]:
    """All communities, of each kind, that the router's table has for the prefix; the well-known ones by name."""
    names = {"65535:65281": "no-export", "65535:0": "graceful-shutdown", "65535:666": "blackhole"}
    if isinstance(scene.router, Frr):
        path = scene.router.paths(prefix)[0]
        kinds = [
            path[key]["string"].split() for key in ("community", "largeCommunity", "extendedCommunity") if key in path
        ]
        words = {"noExport": "no-export", "gracefulShutdown": "graceful-shutdown"}
        return {words.get(word, word) for kind in kinds for word in kind}
    if isinstance(scene.router, Gobgp):
        by_type = {one["type"]: one for one in scene.router.paths(prefix)[0]["attrs"]}
        standard = [f"{value >> 16}:{value & 0xFFFF}" for value in by_type.get(8, {}).get("communities", [])]
        others = [str(by_type[kind]) for kind in (16, 32) if by_type.get(kind, {}).get("value")]
        return {names.get(word, word) for word in standard} | set(others)
    text = scene.router.birdc(f"show route for {prefix} all")  # type: ignore[attr-defined]
    found = {
        line.split(":")[0].strip(): line.split(":", 1)[1].split() for line in text.splitlines() if "community:" in line
    }
    pairs = [word.strip("()").replace(",", ":") for words in found.values() for word in words]
    return {names.get(pair, pair) for pair in pairs}


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
        eventually(lambda: preferences(scene, SHARED) == [None, 1], 5, "the drained edge is not the last choice")
        assert scene.router.accepted(SHARED)[0] == scene.hop("e1")
    else:
        scene.becomes(SHARED, "e1")
        scene.becomes(SHARED6, "e1")
    scene.becomes(OF_E2, "e2")
    assert "graceful-shutdown" in communities(scene, OF_E2)


def preferences(scene: Scene, prefix: str) -> list[int | None]:
    """The local preference of each of GoBGP's paths, the best first; None where it is the default."""
    assert isinstance(scene.router, Gobgp)
    paths = [{one["type"]: one for one in path["attrs"]} for path in scene.router.paths(prefix)]
    return [attributes.get(5, {}).get("value") for attributes in paths]


def ten_thousand() -> Iterator[list[str]]:
    everything = [f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}/32" for n in range(10_000)]
    for start in range(0, len(everything), 500):
        yield everything[start : start + 500]


def resident(scene: Scene) -> int:
    """kB of memory that the router's processes hold."""
    found = 0
    for process in scene.router.processes.values():
        status = Path(f"/proc/{process.pid}/status").read_text()
        found += int(status.split("VmRSS:")[1].split()[0])
    return found


def flood(scene: Scene) -> None:
    """Ten thousand host routes, as far as the router listens."""
    with contextlib.suppress(OSError):
        for batch in ten_thousand():
            scene.hostile.announce(*batch)


@pytest.mark.parametrize("make", ["bird", "gobgp"])
def test_r2_an_edge_that_announces_the_world_is_cut_off_alone(make: str) -> None:
    with playing(make) as scene:
        scene.hostile.announce(OF_E2)
        scene.becomes(OF_E2, "e2")
        flood(scene)
        assert scene.hostile.closed.wait(5), "the session is still there"
        eventually(lambda: scene.hops(OF_E2) == {}, 5, "the routes of the session are still there")
        stays(lambda: not scene.wrong(), 1.0, str(scene.wrong()))
        assert scene.hostile.notifications() == [(6, 1)]


def test_r2_frr_bears_an_edge_that_announces_the_world() -> None:
    """It counts only what its policy accepts, and `force` would cut off the innocent: docs/routers.md."""
    with playing("frr") as scene:
        scene.hostile.announce(OF_E2)
        scene.becomes(OF_E2, "e2")
        before = resident(scene)
        flood(scene)
        eventually(lambda: updates_read(scene) >= 21, 10, "the flood was not read")
        scene.honest.announce(OF_E1)  # what `force` would have answered with a NOTIFICATION
        scene.hostile.announce(OF_E2)
        stays(lambda: not scene.wrong(), 1.5, str(scene.wrong()))
        scene.becomes(OF_E2, "e2")
        grown = resident(scene) - before
        print("R2 frr: grown by", grown, "kB")
        assert grown < 2048, "what is refused is kept"  # which takes 4,700 kB
        assert not scene.hostile.closed.is_set()


def updates_read(scene: Scene) -> int:
    assert isinstance(scene.router, Frr)
    return int(scene.router.ask("show bgp neighbors 10.77.2.1 json")["10.77.2.1"]["messageStats"]["updatesRecv"])


CASES = {
    # name: (attributes replaced or removed, what RFC 7606 wants: withdrawn or discarded)
    "origin of no known value": ({1: attribute(0x40, 1, b"\x09")}, "withdrawn"),
    "origin of two octets": ({1: attribute(0x40, 1, b"\0\0")}, "withdrawn"),
    "origin flagged optional": ({1: attribute(0xC0, 1, b"\0")}, "withdrawn"),
    "no origin": ({1: b""}, "withdrawn"),
    "as_path of an unknown segment": ({2: attribute(0x40, 2, struct.pack("!BBI", 9, 1, 65120))}, "withdrawn"),
    "as_path longer than its attribute": ({2: attribute(0x40, 2, struct.pack("!BBI", 2, 5, 65120))}, "withdrawn"),
    "as_path of a segment without ASNs": (
        {2: attribute(0x40, 2, struct.pack("!BBIBB", 2, 1, 65120, 2, 0))},
        "withdrawn",
    ),
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


DEVIATIONS = {
    # FRR 8.4.4 closes the session for what is wrong in ORIGIN, AS_PATH or NEXT_HOP; the liar's alone.
    ("frr", "origin of no known value"): "reset",
    ("frr", "origin of two octets"): "reset",
    ("frr", "origin flagged optional"): "reset",
    ("frr", "origin twice"): "reset",
    ("frr", "as_path of an unknown segment"): "reset",
    ("frr", "as_path longer than its attribute"): "reset",
    ("frr", "as_path of a segment without ASNs"): "reset",
    ("frr", "next_hop 0.0.0.0"): "reset",
    ("frr", "next_hop multicast"): "reset",
    # GoBGP 3.10 takes an empty list for none.
    ("gobgp", "communities of no octet"): "kept",
    # and drops a whole UPDATE whose last attribute is cut off: what was announced before stays.
    ("gobgp", "an attribute longer than all"): "kept",
}
"""(make, case) -> what the router does instead of what RFC 7606 wants; docs/routers.md has them."""


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
    assert scene.wrong() == []
    assert found == DEVIATIONS.get((scene.make, case), {"withdrawn": "withdrawn", "discarded": "kept"}[wanted])
    if found != "reset":
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
            stays(lambda scene=scene: not scene.wrong(), SETTLE, f"{case}: {scene.wrong()}")  # type: ignore[misc]
            assert found == DEVIATIONS.get((make, case), found), case
            assert found != "kept" or (make, case) in DEVIATIONS, case
