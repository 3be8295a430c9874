"""Host settings of a backend, in a network namespace."""

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.backend import host
from edge.backend.config import load
from edge.backend.host import HostError
from tests.datapath import kernel
from tests.datapath.kernel import Namespace

pytestmark = pytest.mark.kernel
CONFIG = load(
    """
version: 1
name: b1
interface: b0
address: 10.0.1.1
vips: [203.0.113.10, 203.0.113.11]
edges: [10.0.5.1/32]
""",
    "backend.yaml",
)


@dataclass
class Segment:
    """A backend (10.0.1.1 on b0) and its router (10.0.1.0 on r0) with a default route between them."""

    backend: Namespace
    router: Namespace

    def routes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.backend.ip("-json", "-details", "route", "show", "default"))
        return found

    def ensure(self) -> list[str]:
        with self.backend.inside():
            return host.ensure(CONFIG)


@pytest.fixture
def segment() -> Iterator[Segment]:
    made: list[Namespace] = []
    try:
        for _ in range(2):
            made.append(Namespace())
        found = Segment(*made)
        kernel.veth(found.backend, "b0", found.router, "r0")
        found.backend.ip("address", "add", "10.0.1.1/31", "dev", "b0")
        found.router.ip("address", "add", "10.0.1.0/31", "dev", "r0")
        found.backend.ip("route", "add", "default", "via", "10.0.1.0", "metric", "5")
        yield found
    finally:
        for namespace in made:
            namespace.delete()


def sysctl(where: Namespace, interface: str, name: str, value: int | None = None) -> int:
    with where.inside():
        path = Path(f"/proc/sys/net/ipv4/conf/{interface}/{name}")
        if value is not None:
            path.write_text(str(value))
        return int(path.read_text())


def test_everything_is_set_once_and_a_second_look_changes_nothing(segment: Segment) -> None:
    sysctl(segment.backend, "all", "arp_ignore", 0)
    sysctl(segment.backend, "all", "arp_announce", 0)
    assert segment.ensure() == [
        "net.ipv4.conf.all.arp_ignore 0 -> 1",
        "net.ipv4.conf.all.arp_announce 0 -> 2",
        "address 203.0.113.10/32 on lo",
        "address 203.0.113.11/32 on lo",
        "advmss unset -> 1420 on the default route via 10.0.1.0",
    ]
    held = segment.backend.ip("-4", "address", "show", "dev", "lo")
    assert "203.0.113.10/32" in held
    assert "203.0.113.11/32" in held
    assert segment.ensure() == []


def test_the_default_route_keeps_everything_but_its_mss(segment: Segment) -> None:
    words = ("default", "via", "10.0.1.0", "metric", "5", "src", "10.0.1.1", "proto", "static", "mtu", "1480")
    segment.backend.ip("route", "replace", *words)
    before = segment.routes()
    segment.ensure()
    (after,) = segment.routes()
    assert after["metrics"] == [{"mtu": 1480, "advmss": 1420}]
    assert {k: v for k, v in after.items() if k != "metrics"} == {k: v for k, v in before[0].items() if k != "metrics"}


def test_a_multipath_default_route_keeps_its_ways(segment: Segment) -> None:
    segment.backend.ip("link", "add", "b1", "type", "veth", "peer", "name", "b1p")
    segment.backend.ip("address", "add", "10.0.2.1/31", "dev", "b1")
    for name in ("b1", "b1p"):
        segment.backend.ip("link", "set", name, "up")
    ways = ("nexthop", "via", "10.0.1.0", "weight", "2", "nexthop", "via", "10.0.2.0", "weight", "3")
    segment.backend.ip("route", "replace", "default", "metric", "5", *ways)
    segment.ensure()
    (route,) = segment.routes()
    assert route["metrics"] == [{"advmss": 1420}]
    assert [(way["gateway"], way["dev"], way["weight"]) for way in route["nexthops"]] == [
        ("10.0.1.0", "b0", 2),
        ("10.0.2.0", "b1", 3),
    ]


def test_nobody_on_the_segment_learns_the_vip_by_arp(segment: Segment) -> None:
    sysctl(segment.backend, "b0", "arp_ignore", 0)
    sysctl(segment.backend, "all", "arp_ignore", 0)
    segment.router.ip("route", "add", "203.0.113.0/24", "dev", "r0")
    segment.backend.ip("address", "add", "203.0.113.10/32", "dev", "lo")

    def asked() -> str:
        with segment.router.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"", ("203.0.113.10", 9))
        time.sleep(0.3)
        return segment.router.ip("neighbour", "show", "203.0.113.10")

    assert "lladdr" in asked(), "without the settings it answers"
    segment.router.ip("neighbour", "flush", "all")
    segment.ensure()
    assert "lladdr" not in asked()


@pytest.mark.parametrize("interface", ["all", "b0"])
def test_a_strict_reverse_path_check_is_refused_with_the_command(segment: Segment, interface: str) -> None:
    sysctl(segment.backend, "all", "rp_filter", 0)
    sysctl(segment.backend, "b0", "rp_filter", 0)
    sysctl(segment.backend, interface, "rp_filter", 1)
    with pytest.raises(HostError, match=rf"sysctl -w net.ipv4.conf.{interface}.rp_filter=2"):
        segment.ensure()
    sysctl(segment.backend, "all", "rp_filter", 2)
    segment.ensure()


def test_without_a_default_route_or_its_address_or_its_interface_it_says_so(segment: Segment) -> None:
    segment.backend.ip("route", "delete", "default")
    with pytest.raises(HostError, match="no IPv4 default route"):
        segment.ensure()
    segment.backend.ip("address", "flush", "dev", "b0")
    with pytest.raises(HostError, match=r"address 10\.0\.1\.1 is on no interface"):
        segment.ensure()
    segment.backend.ip("link", "delete", "b0")
    with pytest.raises(HostError, match=r"interface b0 does not exist here; expected one of all, default"):
        segment.ensure()


def test_no_descriptor_is_left_behind(segment: Segment) -> None:
    segment.ensure()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        segment.ensure()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
