"""The rendered configuration: the golden file, ExaBGP's own validator, and what must not be rendered."""

import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from bgp.exabgp_conf import PeerConfig, SpeakerConfig, SpeakerConfigError, environment, render
from bgp.route import Route

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
GOLDEN_FILES = [(CONFIG, GOLDEN), (CONFIG6, GOLDEN.with_name("exabgp-ipv6.conf"))]


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-I", "-m", "exabgp", "validate", "--neighbor", str(path)]
    env = environment("nobody", "/dev/null")
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize(("config", "golden"), GOLDEN_FILES)
def test_golden_file(config: SpeakerConfig, golden: Path) -> None:
    assert render(config, RELAY) == golden.read_text()


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
