"""The rendered configuration: the golden file, ExaBGP's own validator, and what must not be rendered."""

import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from bgp.exabgp_conf import PeerConfig, SpeakerConfig, SpeakerConfigError, environment, render

GOLDEN = Path(__file__).parent / "golden" / "exabgp.conf"
RELAY = ["/usr/bin/python3", "-I", "-m", "bgp.relay", "/run/fairhop/bgp/relay.sock"]
PEERS = (
    PeerConfig("a-r1", IPv4Address("10.0.5.0"), 65101, IPv4Address("10.0.5.1")),
    PeerConfig("a-r2", IPv4Address("10.0.6.0"), 65102, IPv4Address("10.0.6.1"), md5="s3cr$t!%&*()", ttl_security=True),
)
PREFIXES = (IPv4Network("203.0.113.10/32"), IPv4Network("203.0.113.11/32"))
CONFIG = SpeakerConfig(65110, IPv4Address("10.255.0.6"), PEERS, PREFIXES, hold_time=3)


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-I", "-m", "exabgp", "validate", "--neighbor", str(path)]
    env = environment("nobody", "/dev/null")
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=30)


def test_golden_file() -> None:
    assert render(CONFIG, RELAY) == GOLDEN.read_text()


def test_exabgp_accepts_the_golden_file(tmp_path: Path) -> None:
    path = tmp_path / "exabgp.conf"
    path.write_text(GOLDEN.read_text())
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
