"""The announcer of a fairhop.yaml: what routers are told in each stance, and which peers are refused in which words."""

from ipaddress import ip_address, ip_network

import pytest

from bgp.route import Attributes, RouteError
from edge.announcer.attributes import route_for, speaker_config
from edge.announcer.companion_config import bfd_config
from edge.config.file import Config, load
from edge.policy.announce import Stance
from tests.edge.test_config import errors
from tests.edge.test_config_rules import FULL

VIP, PREFIX, VIP6 = (ip_network(text) for text in ("203.0.113.10/32", "203.0.113.128/25", "2001:db8:1::10/128"))
HEAD, TAIL = FULL.split("  peers: ")[0], FULL.split("local_address6: fd00:4::1}]\n")[1]
R1 = "    - {name: r1, address: 10.0.4.0, asn: 65101, local_address: 10.0.4.1, local_address6: fd00:4::1"
R2 = "    - {name: r2, address: 'fd00:5::', asn: 65102, local_address: fd00:5::1"


def text(*lines: str) -> str:
    return HEAD + "\n".join(lines) + "\n" + TAIL


def told(*lines: str) -> Config:
    return load(text(*lines), "f.yaml")


def test_by_default_a_node_says_nothing_but_graceful_shutdown_when_de_preferred() -> None:
    announcer = told("  peers:", R1 + "}").announcer
    said = {stance: route_for(announcer, VIP, stance) for stance in Stance}
    assert said.pop(Stance.WITHDRAWN) is None
    known = {stance: (r.communities, r.med, r.as_path, r.overrides) for stance, r in said.items() if r}
    assert known == {
        Stance.ANNOUNCED: ((), None, (), ()),
        Stance.DEPREFERRED: (("65535:0",), None, (), ()),
        Stance.BLACKHOLED: (("65535:666", "65535:65281"), None, (), ()),
    }


ATTRIBUTES = """\
  attributes:
    announced: {med: 5, communities: ['65110:1'], large_communities: ['65110:1:1']}
    de-preferred: {med: 100, prepend: 2}
    blackholed: {communities: ['65110:666']}
  peers:"""


def test_a_stance_is_laid_over_the_announced_one_and_a_peer_over_both() -> None:
    own = ", attributes: {announced: {med: 7}, de-preferred: {communities: [no-export]}}}"
    announcer = told(ATTRIBUTES, R1 + "}", R2 + own).announcer
    plain = route_for(announcer, VIP, Stance.ANNOUNCED)
    shut = route_for(announcer, VIP6, Stance.DEPREFERRED)
    dark = route_for(announcer, VIP, Stance.BLACKHOLED)
    assert plain and shut and dark
    r1, r2 = ip_address("10.0.4.0"), ip_address("fd00:5::")
    path, large = (65110, 65110, 65110), ("65110:1:1",)
    assert plain.overrides == ((r2, Attributes(7, ("65110:1",), (), large)),)
    assert (plain.told(r1).med, plain.told(r1).communities, plain.told(r1).as_path) == (5, ("65110:1",), ())
    assert (shut.told(r1).med, shut.told(r1).communities) == (100, ("65110:1", "65535:0"))
    assert shut.told(r2) == Attributes(100, ("65110:1", "65535:65281"), path, large)
    assert dark.communities == ("65110:1", "65110:666", "65535:666", "65535:65281")
    assert route_for(announcer, VIP, Stance.ANNOUNCED) is plain, "made again in every turn"


def test_our_own_asn_is_not_prepended_towards_a_router_of_our_own_as() -> None:
    inside = R2.replace("65102", "65110") + ", attributes: {announced: {prepend: 1}}}"
    route = route_for(
        told("  peers:", R1 + ", attributes: {announced: {prepend: 1}}}", inside).announcer, VIP, Stance.ANNOUNCED
    )
    assert route is not None
    assert [route.told(ip_address(peer)).as_path for peer in ("10.0.4.0", "fd00:5::")] == [(65110, 65110), ()]


def test_only_a_single_address_is_blackholed() -> None:
    announcer = told("  peers:", R1 + "}").announcer
    with pytest.raises(RouteError, match=r"203\.0\.113\.128/25: only a single address can be blackholed"):
        route_for(announcer, PREFIX, Stance.BLACKHOLED)


def test_everything_about_a_peer_reaches_the_speaker() -> None:
    more = ", passive: true, port: 1790, multihop: 3, md5_file: /etc/key, interface: eth1, local_address4: 10.0.9.9}"
    config = told("  bfd: {}", "  graceful_restart: {time: 30}", "  peers:", R1 + ", ttl_security: true}", R2 + more)
    speaker = speaker_config(config)
    r1, r2 = speaker.peers
    assert (r1.ttl_security, r1.port, r1.passive, str(r1.next_hop(6))) == (True, 179, False, "fd00:4::1")
    assert (r2.passive, r2.listen, r2.multihop, r2.md5_file, r2.interface) == (True, 1790, 3, "/etc/key", "eth1")
    assert [str(r2.next_hop(version)) for version in (4, 6)] == ["10.0.9.9", "fd00:5::1"]
    assert speaker.graceful_restart == 30


def test_bfd_is_with_every_peer_that_does_not_say_off() -> None:
    own = ", bfd: {tx: 0.01, multiplier: 5}, multihop: 2}"
    off = R1.replace("r1", "r3").replace("10.0.4.0", "10.0.6.0") + ", bfd: off}"
    assert bfd_config(told("  peers:", R1 + "}"), {}) is None
    assert bfd_config(told("  bfd: {}", "  peers:", off), {}) is None
    bfd = bfd_config(told("  bfd: {rx: 0.02}", "  peers:", R1 + "}", R2 + own, off), {})
    assert bfd is not None
    assert [(peer.name, peer.tx, peer.rx, peer.multiplier, peer.multihop) for peer in bfd.peers] == [
        ("r1", 0.05, 0.02, 3, False),
        ("r2", 0.01, 0.02, 5, True),
    ]


R1_ONLY = R1 + "}"
WRONG = [
    (
        ["  graceful_restart: {time: 30}", "  peers:", R1_ONLY],
        "21:21: graceful_restart without bfd: routers would keep a dead node's routes for all of its time; "
        "expected announcer.bfd, or no graceful_restart",
    ),
    (
        ["  bfd: {}", "  graceful_restart: {time: 30}", "  peers:", R1 + ", bfd: off}"],
        "24:106: peer 'r1' has no bfd, with graceful_restart: routers would keep a dead node's routes for all of "
        "its time; expected bfd to every peer",
    ),
    (
        ["  bfd: {}", "  graceful_restart: {time: 4096}", "  peers:", R1_ONLY],
        "22:28: announcer.graceful_restart.time is 4096: expected less than or equal to 4095",
    ),
    (
        ["  peers:", R1.replace("10.0.4.1", "fd00:4::2") + "}"],
        "22:64: local_address fd00:4::2 is not of the family of 10.0.4.0: expected it to be",
    ),
    (
        ["  peers:", R1 + ", local_address4: 10.0.4.9}"],
        "22:117: local_address4 is for sessions over IPv6, and this one runs to 10.0.4.0: expected none",
    ),
    (
        ["  peers:", R2.replace("'fd00:5::'", "fe80::1") + "}"],
        "22:27: peer address fe80::1 is link-local: expected the interface to reach it by",
    ),
    (
        ["  peers:", R1 + ", passive: true, ttl_security: true}"],
        "22:130: ttl_security is true for a passive peer: expected false, as ExaBGP's SYN-ACK has a TTL of 64",
    ),
    (
        ["  attributes: {announced: {large_communities: ['65110:18504:1']}}", "  peers:", R1_ONLY],
        "21:48: announcer.attributes.announced.large_communities.0 is '65110:18504:1': expected another second number: "
        "18504 is for digests of configurations",
    ),
    (
        ["  attributes: {announced: {communities: ['65535:666']}}", "  peers:", R1_ONLY],
        "21:42: announcer.attributes.announced.communities.0 is '65535:666': expected another community: "
        "only `fairhop blackhole` asks routers to drop packets",
    ),
    (
        ["  attributes: {announced: {communities: [shutdown]}}", "  peers:", R1_ONLY],
        "21:42: announcer.attributes.announced.communities.0 is 'shutdown': expected asn:value, each 0 to 65535, "
        "or one of graceful-shutdown, no-advertise, no-export, no-peer",
    ),
    (
        ["  attributes: {announced: {extended_communities: ['target:4200000001:1']}}", "  peers:", R1_ONLY],
        "21:51: announcer.attributes.announced.extended_communities.0 is 'target:4200000001:1': "
        "expected target:, origin: or bandwidth: and asn:value, to 65535 and 4294967295",
    ),
    (
        ["  attributes: {gone: {med: 1}}", "  peers:", R1_ONLY],
        "21:22: announcer.attributes.gone is 'gone': expected 'announced', 'de-preferred' or 'blackholed'",
    ),
    (
        ["  peers:", R1 + ", md5_file: key}"],
        r"22:111: announcer.peers.0.md5_file is 'key': string should match pattern "
        r"'^(/|\$CREDENTIALS_DIRECTORY/)[!-~]+$'",
    ),
    (
        ["  peers:", R1 + ", multihop: 1}"],
        "22:111: announcer.peers.0.multihop is 1: expected greater than or equal to 2",
    ),
]


@pytest.mark.parametrize(("lines", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_what_is_refused(lines: list[str], message: str) -> None:
    assert errors(text(*lines)) == [f"f.yaml:{message}"]
