"""Configuration, orders, states and the heartbeat file: checked, written, read back."""

import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from bgp.bfd.auth import BfdAuth
from bgp.bfd.beats import Beats, BeatsError
from bgp.bfd.config import BfdConfig, BfdConfigError, BfdPeer, from_plain, to_plain
from bgp.bfd.gate import Source
from bgp.bfd.packet import AuthType
from bgp.bfd.status import (
    BfdState,
    Change,
    GapCount,
    Gaps,
    SessionStatus,
    StatusError,
    decode_order,
    decode_state,
    encode_order,
    encode_state,
)

KEY = BfdAuth(AuthType.METICULOUS_SHA1, 3, b"c4n-ary")
FOUR = BfdPeer("r1", ip_address("192.0.2.1"), ip_address("192.0.2.2"), auth=KEY)
SIX = BfdPeer("r2", ip_address("fe80::1"), ip_address("fe80::2"), interface="eth0", tx=0.01, multiplier=5)


def test_every_fault_is_told_at_once_with_place_and_value() -> None:
    long = BfdAuth(AuthType.PASSWORD, 256, b"p" * 17)
    with pytest.raises(BfdConfigError) as caught:
        BfdConfig(
            (
                BfdPeer("a", ip_address("fe80::1"), ip_address("192.0.2.2"), tx=0.001, rx=61, multiplier=0),
                BfdPeer("a", ip_address("224.0.0.5"), ip_address("192.0.2.2"), auth=long),
                BfdPeer("c", ip_address("fe80::1"), ip_address("fe80::2"), interface="e" * 16, multihop=True),
            ),
            gate=(Source("daemon", 0.0, 3), Source("daemon", 0.01, 1)),
            settle=-1.0,
            priority=100,
        )  # fmt: skip
    assert str(caught.value).split("\n") == [
        "bfd: the name a is that of 2 peers, expected each once",
        "bfd: the gate's sources are ['daemon', 'daemon'], expected daemon and forwarder, each once at most",
        "bfd: gate daemon: interval is 0.0, expected 0.001 to 10, the nearest is 0.001",
        "bfd: gate daemon: misses is 1, expected 2 to 100, the nearest is 2",
        "bfd: settle is -1.0, expected 0 to 60, the nearest is 0",
        "bfd: priority is 100, expected 0 to 99, the nearest is 99",
        "bfd: peer a: local_address is 192.0.2.2, expected one of IPv6",
        "bfd: peer a: address fe80::1 is link-local, expected an interface with it",
        "bfd: peer a: tx is 0.001, expected 0.005 to 60, the nearest is 0.005",
        "bfd: peer a: rx is 61, expected 0.005 to 60, the nearest is 60",
        "bfd: peer a: multiplier is 0, expected 1 to 255, the nearest is 1",
        "bfd: peer a: address is 224.0.0.5, expected that of one host",
        "bfd: peer a: key_id is 256, expected 0 to 255, the nearest is 255",
        "bfd: peer a: its secret has 17 bytes, expected 1 to 16",
        "bfd: peer c: address fe80::1 is link-local, expected no multihop",
        "bfd: peer c: interface is 'eeeeeeeeeeeeeeee', expected 1 to 15 characters",
    ]


def test_an_order_is_read_back_and_no_repr_shows_a_key() -> None:
    config = BfdConfig((FOUR, SIX), (Source("forwarder", 0.02, 3),), settle=1.5)
    seq, admin_down, plain = decode_order(encode_order(7, to_plain(config), True))
    assert (seq, admin_down, from_plain(plain)) == (7, True, config)
    assert "c4n" not in repr(config)


@pytest.mark.parametrize("line", [b"", b"7", b"[]", b'{"type": "state"}', b'{"type": "want", "seq": "c4n"}'])
def test_what_is_no_order_is_refused_and_not_quoted(line: bytes) -> None:
    with pytest.raises(StatusError) as caught:
        decode_order(line)
    assert "c4n" not in str(caught.value)


def test_a_state_is_read_back() -> None:
    change = Change(3, "r1", 9.5, "up", "down", "neighbor down", "the peer says Down", True)
    gaps = Gaps(5, 0.01, 0.02, 0.03, 0.04)
    session = SessionStatus("r1", "192.0.2.1", "up", 1.0, "none", "up", "none", 1, 2, 0.01, 0.03, 4, 5, 6,
                            {"ttl": 1}, (change,), gaps)  # fmt: skip
    state = BfdState(7, True, "fresh", 0.0, (session,), (change,), {"too_short": 2}, ("without SCHED_FIFO",))
    assert decode_state(encode_state(state).rstrip()) == state
    for line in (b"{}", b"[", b'{"type": "want"}', b'{"type": "state", "sessions": [1]}'):
        with pytest.raises(StatusError):
            decode_state(line)


def test_pauses_are_counted_in_steps() -> None:
    counted = GapCount()
    assert counted.gaps() == Gaps()
    for number in range(1000):
        counted.add(0.00905 if number < 990 else 0.01205)
    counted.add(0.5)
    found = counted.gaps()
    assert (found.count, found.longest) == (1001, 0.5)
    assert (found.p50, found.p99, found.p999) == pytest.approx((0.0091, 0.0121, 0.0121))


def test_beats_are_seen_by_who_mapped_the_file_before_and_after(tmp_path: Path) -> None:
    path = tmp_path / "beats"
    daemon = Beats.create(path, None)
    process = Beats.open(path)
    assert process.read() == {"daemon": 0.0, "forwarder": 0.0}
    before = time.monotonic()
    daemon.beat("forwarder")
    assert before <= process.read()["forwarder"] <= time.monotonic()
    daemon.hold(5)
    assert process.held_until() - time.monotonic() == pytest.approx(5, abs=1)
    later = Beats.create(path, None)
    assert later.read()["forwarder"] > 0, "the file of a running process is kept"
    later.beat("daemon")
    assert process.read()["daemon"] > 0
    later.hold(0)
    assert process.held_until() == 0
    with pytest.raises(KeyError):
        daemon.beat("nobody")
    assert path.stat().st_mode & 0o777 == 0o640
    for beats in (daemon, process, later):
        beats.close()


def test_another_file_is_no_beats(tmp_path: Path) -> None:
    path = tmp_path / "beats"
    for content in (b"", b"x" * 32):
        path.write_bytes(content)
        with pytest.raises(BeatsError, match="beats"):
            Beats.open(path)
