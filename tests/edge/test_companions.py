"""What BFD and the read-back are told of a configuration, and the pulse that stops when the work loop does."""

import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bgp.bfd.gate import Source
from bgp.bfd.packet import AuthType
from bgp.process import ProcessError
from edge.announcer.companion_config import bfd_config, read_back_config
from edge.announcer.companions import Companions, Pulse
from edge.config.file import Config, load
from edge.text.strictyaml import ConfigError
from tests.edge.test_config import GOOD, errors

PEERS = "peers: [{name: a-r1, address: 10.0.5.0, asn: 65101, local_address: 10.0.5.1}]"


def told(announcer: str, peers: str = PEERS) -> str:
    assert PEERS in GOOD
    return GOOD.replace(PEERS, f"{peers}\n{announcer}")


def config(announcer: str, peers: str = PEERS) -> Config:
    return load(told(announcer, peers), "f.yaml")


def test_bfd_takes_the_announcers_timers_and_a_peers_own() -> None:
    peers = PEERS[:-2] + ", bfd: {tx: 0.01, auth: {type: sha1, key_id: 7, key_file: /k}}}]"
    wanted = bfd_config(config("  bfd: {rx: 0.02, heartbeat: {interval: 0.005, misses: 3}}", peers), {"a-r1": "secret"})
    assert wanted is not None
    (peer,) = wanted.peers
    assert (peer.name, peer.tx, peer.rx, peer.multiplier, peer.multihop) == ("a-r1", 0.01, 0.02, 3, False)
    assert peer.auth is not None
    assert (peer.auth.type, peer.auth.key_id, peer.auth.secret) == (AuthType.SHA1, 7, b"secret")
    assert wanted.gate == (Source("daemon", 0.005, 3), Source("forwarder", 0.005, 3))
    assert "secret" not in repr(wanted)


def test_a_key_comes_from_a_file_that_nobody_else_may_read(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("canary\n")
    key.chmod(0o644)
    peers = PEERS[:-2] + f", bfd: {{auth: {{type: sha1, key_id: 7, key_file: {key}}}}}}}]"
    companions = Companions(lambda _: None)
    with pytest.raises(ProcessError, match=f"peer a-r1: bfd key_file {key} has mode 0644") as caught:
        companions.plan(config("  bfd: {}", peers))
    assert "canary" not in str(caught.value)


def test_every_peer_is_a_router_unless_routers_are_named() -> None:
    asked = read_back_config(config("  read_back: {listen: 10.0.5.1}"))
    assert asked is not None
    (router,) = asked.routers
    assert (router.name, router.address, router.peers) == ("a-r1", IPv4Address("10.0.5.0"), (IPv4Address("10.0.5.0"),))
    named = "  read_back: {listen: 10.0.5.1, routers: [{name: r, address: 10.9.9.9, peers: [a-r1], pre_only: true}]}"
    asked = read_back_config(config(named))
    assert asked is not None
    assert (asked.routers[0].address, asked.routers[0].pre_only) == (IPv4Address("10.9.9.9"), True)
    assert read_back_config(config("")) is None


@pytest.mark.parametrize("both", ["{listen: 10.0.5.1, command: [looking-glass]}", "{port: 11019}"])
def test_a_read_back_has_one_way_to_ask(both: str) -> None:
    assert errors(told(f"  read_back: {both}")) == [
        "f.yaml:9:14: read_back has both listen and command, or neither: expected one of them"
    ]


def test_a_router_of_the_read_back_names_peers_there_are() -> None:
    wrong = "  read_back: {listen: 10.0.5.1, routers: [{name: r, address: 10.9.9.9, peers: [a-r2]}]}"
    assert errors(told(wrong)) == ["f.yaml:9:80: no peer is called 'a-r2'; did you mean 'a-r1'?"]


def test_bfd_cannot_be_switched_on_while_the_daemon_runs() -> None:
    with pytest.raises(ValueError, match="restart"):
        Companions(lambda _: None).plan(config("  bfd: {}"))
    with pytest.raises(ConfigError):
        config("  bfd: {tx: 0}")


class Heard:
    """BFD, as far as it is spoken to here."""

    def __init__(self) -> None:
        self.holds: list[float] = []

    def hold(self, seconds: float) -> None:
        self.holds.append(seconds)

    def beat(self, source: str) -> None:
        """Nothing follows."""


def test_the_time_asked_for_by_an_earlier_daemon_ends_when_this_one_has_said_all_and_beats_calmly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    companions, bfd = Companions(lambda _: None), Heard()
    monkeypatch.setattr(companions, "_bfd", bfd)
    companions.settle(True, 0.0)
    companions.settle(True, 9.0)
    assert bfd.holds == [], "nobody has beaten yet"
    companions.daemon_beat()
    companions.forwarder_beat()
    companions.settle(True, 10.0)
    companions.settle(False, 11.0)  # ExaBGP was found dead
    companions.settle(True, 11.9)
    companions.settle(True, 13.8)
    assert bfd.holds == []
    assert companions.holding
    companions.settle(True, 14.0)
    companions.settle(True, 15.0)
    assert bfd.holds == [0]
    assert not companions.holding


def test_a_pulse_stops_when_the_work_loop_does_not_come_round() -> None:
    beats: list[float] = []
    pulse = Pulse(lambda: beats.append(time.monotonic()), limit=0.05)
    pulse.turned()
    pulse.tick()
    assert len(beats) == 2
    time.sleep(0.06)
    pulse.tick()
    assert len(beats) == 2
    pulse.turned()
    assert len(beats) == 3
