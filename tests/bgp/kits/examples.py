"""Kits that several tests render."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

from bgp.kits.model import Bfd, KitInput, Options, Session

VIPS = tuple(map(ip_network, ("203.0.113.10/32", "203.0.113.11/32", "203.0.113.128/25", "2001:db8:1::10/128")))

FIRST = Session(
    "a-e1", IPv4Address("10.0.5.1"), IPv4Address("10.0.5.0"), 65110, VIPS,
    next_hop6=IPv6Address("fd00:0:0:5::1"), has_md5=True, bfd=Bfd(10, 10, 3),
)  # fmt: skip
SECOND = Session(
    "a-e2", IPv4Address("10.0.7.1"), IPv4Address("10.0.7.0"), 65110, VIPS[:2], gtsm=False, edge_passive=True,
)  # fmt: skip
SIMPLE = KitInput("a-r1", 65101, (FIRST, SECOND), hold_time=3)

FAR = Session("b-e1", IPv4Address("10.0.9.1"), IPv4Address("10.0.9.0"), 65210, VIPS[:1], multihop=2)
SIX = Session(
    "b-e2", IPv6Address("fd00:0:0:8::1"), IPv6Address("fd00:0:0:8::"), 4200000001, VIPS, has_md5=True, md5="s3cret",
    bfd=Bfd(),
)  # fmt: skip
RICH = KitInput(
    "b-r1", 65102, (FAR, SIX), IPv4Address("10.255.0.9"),
    options=Options(
        aggregates=(ip_network("203.0.113.0/24"), ip_network("2001:db8:1::/48")), site_scope=False, slack=2,
        blackhole_edges=frozenset({"b-e2"}), communities=("65102:70",), roles=False, restart_minutes=5,
    ),
)  # fmt: skip
LINK = Session(
    "c-e1", IPv6Address("fe80::1"), IPv6Address("fe80::2"), 65310, VIPS[:1], interface="eth1", edge_passive=True,
    port=1790,
)  # fmt: skip
MIXED = Session(
    "c.e_2", IPv6Address("fd00:0:0:9::1"), IPv6Address("fd00:0:0:9::"), 65310, VIPS, next_hop4=IPv4Address("10.0.9.1"),
    multihop=3, gtsm=False,
)  # fmt: skip
SPARE = KitInput("c-r1", 65103, (LINK, MIXED), IPv4Address("10.255.0.10"), hold_time=6)
WEIGHTED = replace(SIMPLE, sessions=(replace(FIRST, weight=30), replace(SECOND, weight=10)))
TRUSTING = replace(SIMPLE, options=Options(trust_bandwidth=True))
RESTARTING = replace(
    SIMPLE, sessions=(FIRST, replace(SECOND, bfd=Bfd(300, 300, 3))), options=Options(graceful_restart=True)
)
KITS: dict[str, tuple[KitInput, tuple[str, ...]]] = {
    "simple": (SIMPLE, ("frr", "bird", "gobgp")),
    "rich": (RICH, ("frr", "bird")),
    "spare": (SPARE, ("frr", "bird")),
    "restarting": (RESTARTING, ("frr", "bird")),
    "weighted": (WEIGHTED, ("bird",)),
    "trusting": (TRUSTING, ("frr",)),
    "open": (replace(RICH, options=Options(site_scope=False)), ("frr", "bird", "gobgp")),
}
"""Name -> a kit, and the makes that can do what it says."""
