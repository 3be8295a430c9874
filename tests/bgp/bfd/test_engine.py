"""Whose packet is it, what the gate does to all sessions, and what a new configuration leaves alone."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Any

import pytest

from bgp.bfd.config import BfdConfig, BfdPeer
from bgp.bfd.engine import Datagram, Engine
from bgp.bfd.gate import Source
from bgp.bfd.packet import ControlPacket, Refusal, State, decode, encode

LOCAL, R1, R2 = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), IPv4Address("192.0.2.3")
LINK = IPv6Address("fe80::2")
P1, P2 = BfdPeer("r1", R1, LOCAL, tx=0.01, rx=0.01), BfdPeer("r2", R2, LOCAL, tx=0.01, rx=0.01)
OPEN = BfdConfig((P1, P2), gate=())
HELLO = ControlPacket(State.DOWN, 9, 0, 1_000_000, 10_000, 3)


def engine(config: BfdConfig = OPEN) -> Engine:
    made = Engine(Random(1).random, 0.0)
    made.want(config, False, 0.0)
    made.turn({}, 0.0)
    list(made.output(0.0))
    return made


def datagram(packet: ControlPacket | bytes, source: IPv4Address | IPv6Address = R1, **more: object) -> Datagram:
    data = packet if isinstance(packet, bytes) else encode(packet)
    return replace(Datagram(data, source, "eth0", 255, False), **more)  # type: ignore[arg-type]


def discriminator(one: Engine, name: str) -> int:
    return next(s.local_discriminator for s in one.state(0, 0, ()).sessions if s.name == name)


def states(one: Engine) -> list[str]:
    return [session.state for session in one.state(0, 0, ()).sessions]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({}, None),
        ({"ttl": 254}, Refusal.TTL),
        ({"ttl": 0}, Refusal.TTL),
        ({"source": IPv4Address("192.0.2.99")}, Refusal.UNKNOWN_PEER),
        ({"multihop": True}, Refusal.UNKNOWN_PEER),
        ({"data": b"\x20"}, Refusal.TOO_SHORT),
        ({"data": encode(replace(HELLO, your=1))}, Refusal.UNKNOWN_SESSION),
    ],
)
def test_a_strangers_packet_is_refused_and_counted(changes: dict[str, Any], refusal: Refusal | None) -> None:
    one = engine()
    assert one.receive(datagram(HELLO, **changes), 0.1) is refusal
    counted = one.state(0, 0, ()).refused
    assert counted == ({} if refusal is None else {refusal.name.lower(): 1})
    assert states(one) == ["init" if refusal is None else "down", "down"]


def test_the_session_of_another_peer_cannot_be_named() -> None:
    one = engine()
    named = replace(HELLO, your=discriminator(one, "r2"), state=State.UP)
    assert one.receive(datagram(named), 0.1) is Refusal.WRONG_PEER


def test_link_local_peers_are_told_apart_by_their_interface() -> None:
    own = IPv6Address("fe80::1")
    peers = tuple(BfdPeer(f"r{n}", LINK, own, interface=f"eth{n}") for n in (0, 1))
    one = engine(BfdConfig(peers, gate=()))
    assert one.receive(datagram(HELLO, LINK, interface="eth1"), 0.1) is None
    assert states(one) == ["down", "init"]
    assert one.receive(datagram(HELLO, LINK, interface="eth2"), 0.1) is Refusal.UNKNOWN_PEER


def test_ttl_is_free_between_several_hops() -> None:
    one = engine(BfdConfig((replace(P1, multihop=True),), gate=()))
    assert one.receive(datagram(HELLO, ttl=3, multihop=True), 0.1) is None


def test_a_stale_source_takes_all_sessions_down_with_the_next_output() -> None:
    gated = BfdConfig((P1, P2), (Source("daemon", 0.01, 3),), settle=0.1)
    one, now = engine(gated), 0.0
    assert states(one) == ["held down", "held down"]
    while now < 0.2:
        one.turn({"daemon": now}, now)
        now += 0.01
    for source, name in ((R1, "r1"), (R2, "r2")):
        one.receive(datagram(replace(HELLO, state=State.INIT, your=discriminator(one, name)), source), now)
    list(one.output(now))
    assert states(one) == ["up", "up"]
    one.turn({"daemon": now - 0.031}, now)
    out = [decode(data) for _, data in one.output(now)]
    assert [(packet.state, packet.diag) for packet in out] == [(State.DOWN, 5)] * 2
    assert all(session.downs[-1].failure for session in one.state(0, 0, ()).sessions)


def test_a_gate_that_is_new_holds_what_was_ungated() -> None:
    one = engine()
    assert states(one) == ["down", "down"]
    one.want(BfdConfig((P1, P2), (Source("daemon", 0.01, 3),)), False, 1.0)
    assert states(one) == ["held down", "held down"]


def test_a_new_configuration_leaves_unchanged_peers_alone() -> None:
    one = engine()
    one.receive(datagram(HELLO), 0.1)
    list(one.output(0.1))
    kept = discriminator(one, "r1")
    third = BfdPeer("r3", IPv4Address("192.0.2.4"), LOCAL)
    one.want(BfdConfig((P1, third), gate=()), False, 0.2)
    assert discriminator(one, "r1") == kept and states(one) == ["init", "down"]
    out = {peer.name: decode(data) for peer, data in one.output(0.2)}
    assert out["r2"].state is State.ADMIN_DOWN, "one that is spoken to no more hears so"
    assert set(out) == {"r2", "r3"}
    one.want(BfdConfig((replace(P1, rx=0.02), third), gate=()), False, 0.3)
    assert discriminator(one, "r1") == kept
    one.want(BfdConfig((replace(P1, address=R2), third), gate=()), False, 0.4)
    assert discriminator(one, "r1") != kept


def test_admin_down_of_all_and_back() -> None:
    one = engine()
    one.want(OPEN, True, 0.1)
    assert [decode(data).state for _, data in one.output(0.1)] == [State.ADMIN_DOWN] * 2
    one.want(OPEN, False, 0.2)
    assert states(one) == ["down", "down"]


def test_every_change_is_told_once_with_a_growing_serial() -> None:
    one = engine()
    one.receive(datagram(HELLO), 0.1)
    changes = one.state(0, 0, ()).changes
    assert [change.serial for change in changes] == list(range(1, len(changes) + 1))
    assert (changes[-1].name, changes[-1].old, changes[-1].new) == ("r1", "down", "init")
