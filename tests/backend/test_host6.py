"""Host settings of a backend for IPv6 VIPs and for VIP prefixes, in a network namespace."""

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.backend import host
from edge.backend.config import BackendConfig, load
from edge.backend.host import HostError
from tests.datapath import kernel
from tests.datapath.kernel import Namespace

pytestmark = pytest.mark.kernel
TEXT = """
version: 1
name: b1
interface: b0
address: [10.0.1.1, fd00:1::1]
vips: [2001:db8:1::10, 2001:db8:2::/64]
edges: [10.0.5.1/32, fd00:5::/64]
"""
SIX = load(TEXT, "backend.yaml")
PREFIX4 = load(TEXT.replace("2001:db8:2::/64", "203.0.113.128/25"), "backend.yaml")


@dataclass
class Segment6:
    """A backend (10.0.1.1, fd00:1::1 on b0) and its router (10.0.1.0, fd00:1::2 on r0), the default route between."""

    backend: Namespace
    router: Namespace

    def ensure(self, config: BackendConfig = SIX) -> list[str]:
        with self.backend.inside():
            return host.ensure(config)

    def routes(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.backend.ip("-json", "-details", *words))
        return found


@pytest.fixture
def segment() -> Iterator[Segment6]:
    made: list[Namespace] = []
    try:
        for _ in range(2):
            made.append(Namespace())
            with made[-1].inside():
                for name in ("disable_ipv6", "accept_dad"):
                    Path(f"/proc/sys/net/ipv6/conf/default/{name}").write_text("0")
        found = Segment6(*made)
        kernel.veth(found.backend, "b0", found.router, "r0")
        for node, name, last in ((found.backend, "b0", 1), (found.router, "r0", 0)):
            node.ip("address", "add", f"10.0.1.{last}/31", "dev", name)
            node.ip("address", "add", f"fd00:1::{last or 2}/64", "dev", name, "nodad")
        found.backend.ip("-6", "route", "add", "default", "via", "fd00:1::2", "metric", "7")
        yield found
    finally:
        for namespace in made:
            namespace.delete()


def test_everything_is_set_once_and_a_second_look_changes_nothing(segment: Segment6) -> None:
    assert segment.ensure() == [
        "net.ipv6.ip_nonlocal_bind 0 -> 1",
        "address 2001:db8:1::10/128 on lo",
        "local route 2001:db8:2::/64 on lo",
        "advmss unset -> 1400 on the default route via fd00:1::2",
    ]
    held = segment.backend.ip("-6", "address", "show", "dev", "lo")
    assert "2001:db8:1::10/128 scope global nodad deprecated" in held
    assert segment.ensure() == []


def test_the_host_takes_packets_for_vips_and_never_names_one_as_its_own_source(segment: Segment6) -> None:
    segment.ensure()
    for vip in ("2001:db8:1::10", "2001:db8:2::1", "2001:db8:2:0:ffff::7"):
        (route,) = segment.routes("-6", "route", "get", vip)
        assert route["type"] == "local"
    (out,) = segment.routes("-6", "route", "get", "2001:db8:f::1")
    assert out["prefsrc"] == "fd00:1::1"


def test_an_ipv4_prefix_is_local_as_a_whole(segment: Segment6) -> None:
    segment.backend.ip("route", "add", "default", "via", "10.0.1.0")
    assert "local route 203.0.113.128/25 on lo" in segment.ensure(PREFIX4)
    (route,) = segment.routes("route", "get", "203.0.113.200")
    assert route["type"] == "local"
    assert segment.ensure(PREFIX4) == []


def test_the_default_route_keeps_everything_but_its_mss(segment: Segment6) -> None:
    words = ("default", "via", "fd00:1::2", "metric", "7", "src", "fd00:1::1", "proto", "static", "mtu", "1480")
    segment.backend.ip("-6", "route", "replace", *words, "pref", "high")
    (before,) = segment.routes("-6", "route", "show", "default")
    segment.ensure()
    (after,) = segment.routes("-6", "route", "show", "default")
    assert after["metrics"] == [{"mtu": 1480, "advmss": 1400}]
    assert {k: v for k, v in after.items() if k != "metrics"} == {k: v for k, v in before.items() if k != "metrics"}


def test_a_multipath_default_route_keeps_its_ways(segment: Segment6) -> None:
    segment.backend.ip("link", "add", "b1", "type", "veth", "peer", "name", "b1p")
    for name in ("b1", "b1p"):
        segment.backend.ip("link", "set", name, "up")
    segment.backend.ip("address", "add", "fd00:2::1/64", "dev", "b1", "nodad")
    ways = ("nexthop", "via", "fd00:1::2", "weight", "2", "nexthop", "via", "fd00:2::2", "weight", "3")
    segment.backend.ip("-6", "route", "replace", "default", "metric", "7", *ways)
    segment.ensure()
    (route,) = segment.routes("-6", "route", "show", "default")
    assert [(way["gateway"], way["dev"], way["weight"]) for way in route["nexthops"]] == [
        ("fd00:1::2", "b0", 2),
        ("fd00:2::2", "b1", 3),
    ]
    assert segment.ensure() == []


def test_nobody_on_the_segment_learns_a_vip_by_neighbour_discovery(segment: Segment6) -> None:
    segment.ensure()
    for vip in ("2001:db8:1::10", "2001:db8:2::1", "fd00:1::1"):
        segment.router.ip("-6", "route", "replace", f"{vip}/128", "dev", "r0")
        with segment.router.inside(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.sendto(b"", (vip, 9))
    time.sleep(0.3)
    known = {vip: segment.router.ip("neighbour", "show", vip) for vip in ("2001:db8:1::10", "2001:db8:2::1")}
    assert "lladdr" not in "".join(known.values())
    assert "lladdr" in segment.router.ip("neighbour", "show", "fd00:1::1"), "its own address is answered for"


def test_what_keeps_an_ipv6_vip_from_being_served_is_said(segment: Segment6) -> None:
    segment.backend.ip("-6", "route", "delete", "default")
    with pytest.raises(HostError, match="no IPv6 default route"):
        segment.ensure()
    segment.backend.ip("-6", "route", "add", "default", "via", "fd00:1::2", "proto", "ra")
    with pytest.raises(HostError, match="default route via fd00:1::2 came by router advertisement"):
        segment.ensure()
    segment.backend.ip("address", "delete", "fd00:1::1/64", "dev", "b0")
    with pytest.raises(HostError, match=r"address fd00:1::1 is on no interface"):
        segment.ensure()
    for name in ("b0", "lo"):
        with segment.backend.inside():
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        with pytest.raises(HostError, match=rf"sysctl -w net.ipv6.conf.{name}.disable_ipv6=0"):
            segment.ensure()
