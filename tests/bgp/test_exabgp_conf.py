"""The rendered configuration: the golden file, ExaBGP's own validator, and what must not be rendered."""

import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from bgp.exabgp_conf import PeerConfig, SpeakerConfig, SpeakerConfigError, environment, render
from bgp.route import Route
from bgp.supervisor import START_LIMIT

GOLDEN = Path(__file__).parent / "golden" / "exabgp.conf"
RELAY = ["/usr/bin/python3", "-I", "-m", "bgp.relay", "/run/fairhop/bgp/relay.sock"]
PEERS = (
    PeerConfig("a-r1", IPv4Address("10.0.5.0"), 65101, IPv4Address("10.0.5.1")),
    PeerConfig("a-r2", IPv4Address("10.0.6.0"), 65102, IPv4Address("10.0.6.1"), md5="s3cr$t!%&*()", ttl_security=True),
)
PREFIXES = (IPv4Network("203.0.113.10/32"), IPv4Network("203.0.113.11/32"))
VIP6 = IPv6Network("2001:db8:1::10/128")
HOPS = tuple((peer.address, IPv6Address(f"fd00:0:0:{n}::1")) for n, peer in enumerate(PEERS, 5))
PEERS6 = tuple(replace(peer, local_address6=hop) for peer, (_, hop) in zip(PEERS, HOPS, strict=True))
CONFIG = SpeakerConfig(65110, IPv4Address("10.255.0.6"), PEERS, PREFIXES, hold_time=3)
CONFIG6 = replace(CONFIG, peers=PEERS6, prefixes=(*PREFIXES, VIP6))
V6, OWN6 = IPv6Address("fd00:0:0:8::"), IPv6Address("fd00:0:0:8::1")
KINDS = (
    PeerConfig("over6", V6, 65103, OWN6),
    PeerConfig("own4", IPv6Address("fd00::4"), 65104, OWN6, local_address4=IPv4Address("10.0.8.1")),
    PeerConfig("linklocal", IPv6Address("fe80::1"), 65105, IPv6Address("fe80::6"), interface="eth4"),
    PeerConfig("hops", IPv4Address("10.255.0.5"), 65106, IPv4Address("10.255.0.6"), multihop=2, local_address6=OWN6),
    replace(PEERS6[0], name="gtsm", multihop=3, ttl_security=True, port=1179),
    replace(PEERS6[1], name="passive", passive=True, ttl_security=False, md5=None, md5_file="/k", listen=1790),
)
GRACEFUL = replace(CONFIG6, peers=KINDS, graceful_restart=30)
GOLDEN_FILES = [
    (CONFIG, GOLDEN),
    (CONFIG6, GOLDEN.with_name("exabgp-ipv6.conf")),
    (GRACEFUL, GOLDEN.with_name("exabgp-kinds.conf")),
]


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-I", "-m", "exabgp", "validate", "--neighbor", str(path)]
    env = environment("nobody", "/dev/null")
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize(("config", "golden"), GOLDEN_FILES)
def test_golden_file(config: SpeakerConfig, golden: Path) -> None:
    assert render(config, RELAY, {"passive": "fr0m.a.file"}) == golden.read_text()


@pytest.mark.parametrize("golden", [golden for _, golden in GOLDEN_FILES])
def test_exabgp_accepts_the_golden_file(golden: Path, tmp_path: Path) -> None:
    path = tmp_path / "exabgp.conf"
    path.write_text(golden.read_text())
    done = validate(path)
    assert (done.returncode, done.stderr) == (0, "")


def test_exabgp_refuses_a_wrong_one(tmp_path: Path) -> None:
    path = tmp_path / "exabgp.conf"
    path.write_text(GOLDEN.read_text().replace("peer-as", "per-as"))
    done = validate(path)
    assert done.returncode == 1 and 'invalid keyword "per-as"' in done.stderr


def test_the_md5_key_shows_in_no_repr_and_no_error() -> None:
    assert "s3cr$t" not in repr(CONFIG)
    with pytest.raises(SpeakerConfigError) as caught:
        replace(PEERS[1], md5="can ary")
    assert "can ary" not in str(caught.value)


@pytest.mark.parametrize(
    "md5", ["", "a b", "a;b", "a\nb", "a'b", 'a"b', "a#b", "a{b", "a}b", "a\\b", "\x7f", "ä", "x" * 81]
)
def test_md5_keys_that_exabgp_would_read_otherwise(md5: str) -> None:
    with pytest.raises(SpeakerConfigError, match="peer a-r2: md5 has a character or a length not allowed"):
        replace(PEERS[1], md5=md5)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"asn": 0}, "asn is 0, expected 1 to 4294967295"),
        ({"hold_time": 2}, "hold_time is 2, expected 3 to 65535 seconds"),
        ({"lease": 0.1}, "lease is 0.1, expected 0.2 to 60 seconds"),
        ({"peers": ()}, r"peers are \[\], expected at least one, each once"),
        ({"peers": (PEERS[0], PEERS[0])}, "expected at least one, each once"),
    ],
)
def test_settings_out_of_range(change: dict[str, object], text: str) -> None:
    with pytest.raises(SpeakerConfigError, match=text):
        replace(CONFIG, **change)  # type: ignore[arg-type]  # each case breaks one field on purpose


def test_an_ipv6_prefix_needs_a_next_hop_towards_every_peer() -> None:
    message = "peers a-r2 have no local_address6, expected one for 2001:db8:1::10/128"
    with pytest.raises(SpeakerConfigError, match=message):
        replace(CONFIG6, peers=(PEERS6[0], PEERS[1]))
    with pytest.raises(SpeakerConfigError, match="cannot be announced: a peer has no local_address6"):
        replace(CONFIG, peers=(PEERS6[0], PEERS[1])).resolved(Route(VIP6))


@pytest.mark.parametrize("address", ["fe80::1", "ff02::1", "::", "::ffff:10.0.5.1"])
def test_a_next_hop_that_no_router_can_use(address: str) -> None:
    with pytest.raises(SpeakerConfigError, match=r"peer a-r1: local_address6 is .*, expected a global unicast address"):
        replace(PEERS[0], local_address6=IPv6Address(address))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"local_address": OWN6}, "local_address is fd00:0:0:8::1, expected one of 10.0.5.0's family"),
        ({"local_address4": IPv4Address("10.0.5.1")}, "expected it only where the session runs over IPv6"),
        (
            {"address": IPv6Address("fe80::1"), "local_address": OWN6},
            "expected an interface beside a link-local address",
        ),
        ({"multihop": 1}, "multihop is 1, expected 2 to 255 hops"),
        ({"interface": "eth0; x"}, "interface is 'eth0; x', expected 1 to 15 letters"),
        ({"port": 0}, "port is 0, expected 1 to 65535"),
        ({"listen": 65536}, "listen is 65536, expected 1 to 65535"),
        (
            {"passive": True, "ttl_security": True},
            "expected false for a passive peer: ExaBGP's SYN-ACK would have TTL 64",
        ),
    ],
)
def test_peers_that_cannot_be(change: dict[str, object], text: str) -> None:
    with pytest.raises(SpeakerConfigError, match=f"peer a-r1: .*{text}"):
        replace(PEERS6[0], **change)  # type: ignore[arg-type]  # each case breaks one field on purpose


def test_next_hops_of_all_kinds_of_sessions() -> None:
    hops = {peer.name: [str(peer.next_hop(version)) for version in (4, 6)] for peer in (PEERS[0], *KINDS)}
    assert hops == {
        "a-r1": ["10.0.5.1", "None"],
        "over6": ["fd00:0:0:8::1"] * 2,
        "own4": ["10.0.8.1", "fd00:0:0:8::1"],
        "linklocal": ["fe80::6"] * 2,
        "hops": ["10.255.0.6", "fd00:0:0:8::1"],
        "gtsm": ["10.0.5.1", "fd00:0:0:5::1"],
        "passive": ["10.0.6.1", "fd00:0:0:6::1"],
    }
    assert dict(GRACEFUL.resolved(Route(PREFIXES[0])).next_hop)[V6] == OWN6  # type: ignore[arg-type]  # it has pairs


def test_what_a_running_exabgp_cannot_be_told() -> None:
    moved = replace(KINDS[2], interface="eth5")
    low = replace(KINDS[5], listen=179)
    for change, fixed in (
        ({"peers": KINDS[:2], "hold_time": 9, "prefixes": ()}, []),
        ({"user": None, "graceful_restart": None}, ["user", "graceful_restart"]),
        ({"peers": (moved, low)}, ["a listening port below 1024", "interface of peer linklocal"]),
    ):
        assert GRACEFUL.fixed(replace(GRACEFUL, **change)) == fixed


def test_a_route_gets_its_next_hops_when_it_is_sent() -> None:
    assert CONFIG6.resolved(Route(VIP6, med=7)) == Route(VIP6, HOPS, med=7)
    assert CONFIG6.resolved(Route(PREFIXES[0])) == Route(PREFIXES[0])


@pytest.mark.parametrize("word", ["/opt/my python", "/opt/x;y", "/opt/{x}", "x\ny", "", "/opt/ü"])
def test_words_that_exabgp_would_split_are_refused(word: str) -> None:
    with pytest.raises(SpeakerConfigError, match="cannot stand in ExaBGP's configuration"):
        render(CONFIG, [word, *RELAY[1:]])
    with pytest.raises(SpeakerConfigError, match="cannot stand in ExaBGP's configuration"):
        render(replace(CONFIG, peers=(replace(PEERS[0], name=word),)), RELAY)


def test_nothing_of_our_environment_reaches_exabgp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("exabgp_log_level", "DEBUG")
    assert environment("nobody", "/x")["exabgp_log_level"] == "ERROR"
    assert environment("nobody", "/x")["exabgp_api_cli"] == "false"


def test_a_name_server_out_of_reach_costs_exabgp_less_than_the_supervisor_waits() -> None:
    """Three of them at most, each asked once for one second; by default it is twice for five, for each search domain."""
    words = environment("nobody", "/x")["RES_OPTIONS"].split()
    options = {name: int(value) for name, value in (word.split(":") for word in words)}
    assert environment("nobody", "/x")["LOCALDOMAIN"] == ""
    assert 3 * options["timeout"] * options["attempts"] < START_LIMIT / 2
