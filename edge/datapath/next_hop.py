"""Which neighbour a packet to a backend leaves by: the choice among a route's ways (core: no I/O)."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from edge.datapath.model import LOCAL_DELIVERY, NextHop
from edge.datapath.netlink import Hop, IpAddress
from edge.datapath.rtnetlink import LinkFact, NeighbourFact

Station = tuple[int, IpAddress]  # interface index and the neighbour's address there


class Finding(StrEnum):
    """Why a backend has a next hop, or has none."""

    RESOLVED = "resolved"
    LOCAL = "delivered to this host"
    NO_ROUTE = "no route to it, or the route refuses"
    LINK_DOWN = "every link that its route uses is down, no Ethernet, or a VLAN in a VLAN"
    UNRESOLVED = "no MAC address known for any of its gateways"

    @property
    def has_next_hop(self) -> bool:
        """Whether packets can be sent."""
        return self in (Finding.RESOLVED, Finding.LOCAL)


@dataclass(frozen=True, slots=True)
class Choice:
    """`next_hop` is None unless `finding` is RESOLVED or LOCAL.

    `ask`: stations whose MAC is to be resolved or confirmed. `only`: the interface that everything for this destination
    should leave by, as other ways are silent; 0 where any will do.
    """

    next_hop: NextHop | None
    finding: Finding
    ask: tuple[Station, ...] = ()
    only: int = 0


@dataclass(slots=True)
class Facts:
    """What the kernel said last, by interface and by station."""

    links: dict[int, LinkFact]
    neighbours: dict[Station, NeighbourFact]

    def learn_link(self, fact: LinkFact, *, gone: bool) -> None:
        """Take in a link message; a deleted link takes its neighbours along."""
        if not gone:
            self.links[fact.ifindex] = fact
            return
        self.links.pop(fact.ifindex, None)
        for station in [station for station in self.neighbours if station[0] == fact.ifindex]:
            del self.neighbours[station]

    def learn_neighbour(self, fact: NeighbourFact, *, gone: bool) -> None:
        """Take in a neighbour message."""
        if gone:
            self.neighbours.pop((fact.ifindex, fact.address), None)
        else:
            self.neighbours[fact.ifindex, fact.address] = fact


def choose(destination: IpAddress, hops: tuple[Hop, ...], facts: Facts, silent: Collection[IpAddress] = ()) -> Choice:
    """Pick one way among those whose link is up and whose MAC is known, the same one every time.

    Several ECMP ways: the highest hash of (destination, station) wins, so that backends spread over the ways and a way
    that comes or goes moves only the backends it carries. A way in use that is stale, or not resolved, is asked for.
    Ways to routers that are `silent`, by whatever address of theirs, are taken when there is no other.
    """
    if not hops:
        return Choice(None, Finding.NO_ROUTE)
    if any(hop.local for hop in hops):
        return Choice(LOCAL_DELIVERY, Finding.LOCAL)
    stations = [(hop.ifindex, hop.gateway or destination) for hop in hops if _alive(hop, facts.links)]
    if not stations:
        return Choice(None, Finding.LINK_DOWN)
    known = [station for station in stations if _mac_of(station, facts.neighbours)]
    ask = tuple(station for station in stations if station not in known or facts.neighbours[station].stale)
    if not known:
        return Choice(None, Finding.UNRESOLVED, ask)
    heard = [station for station in known if not _is_silent(station, silent, facts)] or known
    chosen = max(heard, key=lambda station: _weight(destination, station))
    only = chosen[0] if len(heard) < len(known) else 0
    link, mac = facts.links[chosen[0]], _mac_of(chosen, facts.neighbours)
    # XDP sends beneath VLAN devices: through the parent, with the tag written by ourselves.
    next_hop = NextHop(link.parent if link.vlan else link.ifindex, link.mac, mac, link.vlan)
    return Choice(next_hop, Finding.RESOLVED, ask, only)


def _alive(hop: Hop, links: Mapping[int, LinkFact]) -> bool:
    link = links.get(hop.ifindex)
    if link is None or not link.up or hop.dead or not _is_unicast(link.mac):
        return False
    parent = links.get(link.parent) if link.vlan else None
    return not link.vlan or (parent is not None and parent.up and not parent.vlan)


def _is_silent(station: Station, silent: Collection[IpAddress], facts: Facts) -> bool:
    """Whether the station is a silent router: by the address named, or by the MAC of that address on the same link."""
    ifindex, address = station
    mac = _mac_of(station, facts.neighbours)
    return address in silent or any(_mac_of((ifindex, each), facts.neighbours) == mac for each in silent)


def _mac_of(station: Station, neighbours: Mapping[Station, NeighbourFact]) -> bytes:
    """Return the station's MAC; empty when it is not known, or is one that no frame may be sent to."""
    known = neighbours.get(station)
    return known.mac if known is not None and known.usable and _is_unicast(known.mac) else b""


def _is_unicast(mac: bytes) -> bool:
    return len(mac) == 6 and any(mac) and not mac[0] & 1


def _weight(destination: IpAddress, station: Station) -> bytes:
    ifindex, address = station
    return hashlib.sha256(destination.packed + ifindex.to_bytes(4, "big") + address.packed).digest()
