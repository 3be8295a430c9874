"""Two processes of ours: several hops, link-local addresses, keys, and what a stranger finds at the door."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest

from bgp.bfd.auth import BfdAuth
from bgp.bfd.config import BfdConfig, BfdPeer
from bgp.bfd.gate import Source
from bgp.bfd.packet import AuthType
from tests.bgp.bfd.endure import join
from tests.bgp.bfd.node import Node, node
from tests.bgp.routers.net import Leaf, Star, needs, run_in, star
from tests.bgp.routers.router import eventually, stays

pytestmark = [pytest.mark.kernel, pytest.mark.calm]

GATE = (Source("daemon", 0.05, 10), Source("forwarder", 0.05, 10))


@pytest.fixture(scope="module")
def net() -> Iterator[Star]:
    needs()
    with star("fh-bfd", ["e1", "e2"]) as made:
        join(made)
        for family in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            run_in(made.netns, "sysctl", "-qw", f"net.{family}=1")
        yield made


def leaves(net: Star) -> tuple[Leaf, Leaf]:
    return net.leaves["e1"], net.leaves["e2"]


@contextmanager
def both(net: Star, one: BfdPeer, two: BfdPeer) -> Iterator[tuple[Node, Node]]:
    first, second = leaves(net)
    with node(first.netns, BfdConfig((one,), GATE)) as near, node(second.netns, BfdConfig((two,), GATE)) as far:
        yield near, far


def mirrored(peer: BfdPeer) -> BfdPeer:
    return replace(peer, address=peer.local_address, local_address=peer.address)


def test_several_hops_need_multihop(net: Star) -> None:
    first, second = leaves(net)
    peer = BfdPeer("p", second.address, first.address, tx=0.02, rx=0.02)
    with both(net, peer, mirrored(peer)) as (near, _):
        eventually(lambda: near.ask()["state"] and near.ask()["state"]["refused"].get("ttl"), 10, "nothing was refused")
        assert near.session("p")["state"] != "up"
    several = replace(peer, multihop=True)
    with both(net, several, mirrored(several)) as (near, far):
        near.up("p")
        far.up("p")


def test_link_local_addresses_with_their_interface(net: Star) -> None:
    first, second = leaves(net)
    ends = [ip_address(address) for address in ("fe80::a", "fe80::b")]
    for leaf, address in zip((first, second), ends, strict=True):
        run_in(leaf.netns, "ip", "address", "add", f"{address}/64", "dev", "pair", "nodad")
    peer = BfdPeer("p", ends[1], ends[0], interface="pair", tx=0.02, rx=0.02)
    with both(net, peer, mirrored(peer)) as (near, far):
        near.up("p")
        far.up("p")
        run_in(first.netns, "ip", "link", "set", "pair", "down")
        eventually(lambda: far.session("p")["state"] == "down", 2, "the lost link went unnoticed")
        run_in(first.netns, "ip", "link", "set", "pair", "up")
        run_in(first.netns, "ip", "address", "replace", f"{ends[0]}/64", "dev", "pair", "nodad")
        near.up("p", 15)
        far.up("p")


@pytest.mark.parametrize("kind", AuthType)
def test_every_key_between_two_of_ours(net: Star, kind: AuthType) -> None:
    peer = BfdPeer("p", ip_address("10.78.0.1"), ip_address("10.78.0.0"), tx=0.02, rx=0.02)
    keyed = replace(peer, auth=BfdAuth(kind, 1, b"c4n-ary"))
    with both(net, keyed, mirrored(keyed)) as (near, far):
        near.up("p")
        far.up("p")
        os.kill(far.pid, signal.SIGKILL)  # its successor starts with another number, which must be taken soon
        eventually(lambda: near.session("p")["state"] == "down", 2, "nobody noticed")
        near.up("p", 15)
    with both(net, keyed, mirrored(peer)) as (near, far):
        eventually(lambda: near.session("p").get("refused", {}).get("auth_missing"), 10, "nothing was refused")
        eventually(lambda: far.session("p").get("refused", {}).get("auth_unexpected"), 10, "nothing was refused")
        assert {near.session("p")["state"], far.session("p")["state"]} <= {"down", "held down"}


def test_a_signal_to_the_whole_unit_waits_for_the_daemon(net: Star) -> None:
    peer = BfdPeer("p", ip_address("10.78.0.1"), ip_address("10.78.0.0"), tx=0.02, rx=0.02)
    with both(net, peer, mirrored(peer)) as (near, far):
        near.up("p")
        far.up("p")
        pid = near.pid
        os.kill(pid, signal.SIGTERM)
        stays(lambda: far.session("p")["state"] == "up", 0.5, "the process left before its daemon")
        near.stop()
        eventually(lambda: far.session("p")["state"] == "down", 2, "no AdminDown")
        assert far.session("p")["downs"][-1]["reason"] == "the peer says AdminDown"
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), 2, "the process is still there")  # noqa: PTH110


def test_one_who_comes_while_the_daemon_speaks_ends_nobody(net: Star) -> None:
    peer = BfdPeer("p", ip_address("10.78.0.1"), ip_address("10.78.0.0"), tx=0.2, rx=0.2)
    with both(net, peer, mirrored(peer)) as (near, _):
        near.up("p")
        number = near.pid
        os.kill(number, signal.SIGSTOP)  # so that both are found in one turn of its loop
        near.order(admin_down=True)
        time.sleep(0.1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
            stranger.connect(str(near.run_dir / "bfd.sock"))
            os.kill(number, signal.SIGCONT)
            stranger.settimeout(5)
            assert stranger.recv(10), "it tells its state"
        assert near.pid == number


def test_the_door_takes_no_nonsense_and_no_strangers(net: Star) -> None:
    peer = BfdPeer("p", ip_address("10.78.0.1"), ip_address("10.78.0.0"), tx=0.02, rx=0.02)
    with both(net, peer, mirrored(peer)) as (near, far):
        near.up("p")
        mode = (near.run_dir / "bfd.sock").stat().st_mode & 0o777
        assert mode == 0o600
        for line in (b"nonsense\n", b'{"type": "want"}\n', b"[" * 100_000 + b"\n"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
                stranger.connect(str(near.run_dir / "bfd.sock"))
                stranger.settimeout(5)
                with contextlib.suppress(ConnectionError):  # hung up on before the line was out
                    stranger.sendall(line)
                    while stranger.recv(65536):
                        pass
        far.up("p")
        stays(lambda: far.session("p")["state"] == "up", 0.3, "nonsense moved a session")
        near.up("p")


def test_a_port_that_is_taken_is_told_and_tried_again(net: Star) -> None:
    first, _ = leaves(net)
    peer = BfdPeer("p", ip_address("10.78.0.1"), ip_address("10.78.0.0"))
    with node(first.netns, BfdConfig((peer,), GATE)) as holder:
        eventually(lambda: holder.session("p")["state"] == "down", 10, "the first one did not start")
        with node(first.netns, BfdConfig((peer,), GATE)) as late:
            told = "UDP port 3784 of IPv4 cannot be had: Address already in use"
            eventually(lambda: [e for e in late.events if told in str(e.get("reason"))], 10, lambda: f"{late.events}")
            holder.stop()
            eventually(lambda: late.session("p")["state"] == "down", 15, "it was not tried again")
