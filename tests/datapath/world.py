"""The small world of the packet tests: an edge with a service of each kind, and one backend that decapsulates.

Addresses are text in the rows. `STATE` is the plain world; `TAGGED` also handles VLAN tags; `GUARDED` also has every
protection, against the sources of `BLOCKED` (blocked) and `WATCHED` (only counted).
"""

import dataclasses
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

import mmh3

from edge.datapath.model import (
    LOCAL_DELIVERY,
    Backend,
    DecapState,
    Encap,
    ForwarderState,
    HashMode,
    IpAddress,
    NextHop,
    Pool,
    Protection,
    Protocol,
    QuicLb,
    Service,
    Vip,
)

SEED = 2718281828
TABLE_SIZE = 251
MTU = 1500
LOOPBACK = 1  # the ingress interface of every test run
ELSEWHERE = 7

OWN_MAC = bytes.fromhex("02000000ed01")
ROUTER_MAC = bytes.fromhex("020000000701")
HOP = NextHop(LOOPBACK, OWN_MAC, ROUTER_MAC)
OTHER_HOP = NextHop(ELSEWHERE, bytes.fromhex("02000000ed02"), bytes.fromhex("020000000702"))
VLAN, LAST_VLAN = 42, 4094
INTERFACES = {LOOPBACK: OWN_MAC}

EDGE, OTHER_EDGE = "10.0.5.1", "10.0.6.1"
HOST = "10.0.5.0"  # an address of the edge's host that is no VIP
CLIENT = "198.51.100.7"
STRANGER = "192.0.2.99"
WEB = "203.0.113.10"  # tcp/80 and udp/443 to pool web (GRE)
ECHO = "203.0.113.11"  # tcp/7000 and udp/7000 to pool echo (IPIP)
ANY = "203.0.113.12"  # every TCP port
EMPTY = "203.0.113.13"  # pool with nobody
ABSENT = "203.0.113.14"  # pool that was never written
CORRUPT = "203.0.113.15"  # slots name a backend that does not exist
BEYOND = "203.0.113.16"  # slots name an id beyond the array
UNRESOLVED = "203.0.113.17"  # backend without a next hop
FAR = "203.0.113.18"  # backend behind another interface
DNS = "203.0.113.19"  # udp/53 and tcp/53 to different pools
DRAINED = "203.0.113.20"  # has a service, does not answer echo
SILENT = "203.0.113.21"  # answers echo, has no service
SIX = "203.0.113.22"  # backends with IPv6 addresses: tcp/80 by GRE, udp/7000 by IPIP
KEYED = "203.0.113.23"  # GRE with a key, backends of both families
BEHIND_TAG = "203.0.113.24"  # next hop in a VLAN: tcp/80 outer IPv4, tcp/81 outer IPv6
LOCAL = "203.0.113.25"  # the backend is this host
AFFINE = "203.0.113.26"  # tcp/80, udp/80, tcp/81: by the client alone
PORTED = "203.0.113.27"  # tcp/80, udp/80, tcp/81: by client and vip port
AFFINE_ANY = "203.0.113.28"  # every TCP port, by client and vip port
QUIC = "203.0.113.29"  # udp/443 and tcp/443, connection ids route
FREE = "203.0.113.99"  # no VIP
NET, NET_INNER, NET_ONE = "198.18.7.0/24", "198.18.7.128/25", "198.18.7.200"  # tcp/80; tcp/81; tcp/82

EDGE6, HOST6, FREE6 = "2001:db8:5::1", "2001:db8:5::2", "2001:db8:10::99"
CLIENT6 = "2001:db8:c::7"
STRANGER6 = "2001:db8:ffff::99"
WEB6 = "2001:db8:10::10"
ECHO6 = "2001:db8:10::11"
ANY6 = "2001:db8:10::12"  # every UDP port, every TCP port but 80, which has another pool
EMPTY6 = "2001:db8:10::13"
CORRUPT6 = "2001:db8:10::15"
UNRESOLVED6 = "2001:db8:10::17"
FAR6 = "2001:db8:10::18"
DRAINED6 = "2001:db8:10::20"
SILENT6 = "2001:db8:10::21"
SIX6 = "2001:db8:10::22"
KEYED6 = "2001:db8:10::23"
BEHIND_TAG6 = "2001:db8:10::24"
LOCAL6 = "2001:db8:10::25"
AFFINE6 = "2001:db8:10::26"
QUIC6 = "2001:db8:10::29"
NET6, NET6_INNER, NET6_ONE = "2001:db8:20::/48", "2001:db8:20:1::/64", "2001:db8:20:1::1"  # tcp/80; tcp/81; tcp/82

OUTER6 = IPv6Network("2001:db8:5:0:77::/80")  # more host bits than the hash fills
KEY, LAST_KEY = 0xC0FFEE01, 0xFFFFFFFF
QUIC_LB = QuicLb(config_id=2, length=2)
SERVERS = {0x0101: 17, 0x0102: 18, 0xFFFF: 19}  # backend ids of pool quic by server id
OTHER_SERVER = 0x0201  # of a backend that is in no pool
BACKENDS = (
    Backend(1, "w1", ip_address("10.0.9.1"), Encap.GRE, HOP),
    Backend(2, "w2", ip_address("10.0.9.2"), Encap.GRE, HOP),
    Backend(3, "w3", ip_address("10.0.9.3"), Encap.GRE, HOP),
    Backend(4, "e1", ip_address("10.0.9.1"), Encap.IPIP, HOP),
    Backend(5, "e2", ip_address("10.0.9.2"), Encap.IPIP, HOP),
    Backend(6, "unresolved", ip_address("10.0.9.6"), Encap.GRE, None),
    Backend(7, "far", ip_address("10.0.9.7"), Encap.IPIP, OTHER_HOP),
    Backend(8, "six-gre-1", ip_address("2001:db8:9::1"), Encap.GRE, HOP),
    Backend(9, "six-gre-2", ip_address("2001:db8:9::2"), Encap.GRE, HOP),
    Backend(10, "six-ipip-1", ip_address("2001:db8:9::1"), Encap.IPIP, HOP),
    Backend(11, "six-ipip-2", ip_address("2001:db8:9::2"), Encap.IPIP, HOP),
    Backend(12, "keyed", ip_address("10.0.9.12"), Encap.GRE, HOP, KEY),
    Backend(13, "keyed-six", ip_address("2001:db8:9::13"), Encap.GRE, HOP, LAST_KEY),
    Backend(14, "tagged", ip_address("10.0.9.14"), Encap.GRE, dataclasses.replace(HOP, vlan=VLAN)),
    Backend(15, "tagged-six", ip_address("2001:db8:9::15"), Encap.IPIP, dataclasses.replace(HOP, vlan=LAST_VLAN)),
    Backend(16, "here", ip_address("10.0.5.9"), Encap.GRE, LOCAL_DELIVERY),
    Backend(17, "q1", ip_address("10.0.9.17"), Encap.GRE, HOP, server_id=0x0101),
    Backend(18, "q2", ip_address("10.0.9.18"), Encap.IPIP, HOP, server_id=0x0102),
    Backend(19, "q3", ip_address("2001:db8:9::19"), Encap.GRE, HOP, server_id=0xFFFF),
    Backend(20, "q4", ip_address("10.0.9.20"), Encap.GRE, HOP, server_id=OTHER_SERVER),
)


def _over(*ids: int) -> Pool:
    return Pool(tuple(ids[slot % len(ids)] for slot in range(TABLE_SIZE)))


_POOLS = {
    "web": _over(1, 2, 3),
    "echo": _over(4, 5),
    "empty": Pool(()),
    "corrupt": _over(99),
    "beyond": _over(60_000),
    "unresolved": _over(6),
    "far": _over(7),
    "absent": Pool(()),
    "six-gre": _over(8, 9),
    "six-ipip": _over(10, 11),
    "keyed": _over(12, 13),
    "tagged": _over(14),
    "tagged-six": _over(15),
    "local": _over(16),
    "quic": _over(17, 18, 19),
}
POOLS = tuple(_POOLS.values())
ABSENT_POOL_INDEX = list(_POOLS).index("absent")
_TCP, _UDP = Protocol.TCP, Protocol.UDP
_FIVE, _CLIENT, _PORT = HashMode.FIVE_TUPLE, HashMode.CLIENT, HashMode.CLIENT_PORT
_SERVICES: tuple[tuple[str, Protocol, int, str, HashMode], ...] = (
    (WEB, _TCP, 80, "web", _FIVE),
    (WEB, _UDP, 443, "web", _FIVE),
    (ECHO, _TCP, 7000, "echo", _FIVE),
    (ECHO, _UDP, 7000, "echo", _FIVE),
    (ANY, _TCP, 0, "web", _FIVE),
    (EMPTY, _TCP, 80, "empty", _FIVE),
    (ABSENT, _TCP, 80, "absent", _FIVE),
    (CORRUPT, _TCP, 80, "corrupt", _FIVE),
    (BEYOND, _TCP, 80, "beyond", _FIVE),
    (UNRESOLVED, _TCP, 80, "unresolved", _FIVE),
    (FAR, _TCP, 80, "far", _FIVE),
    (DNS, _UDP, 53, "web", _FIVE),
    (DNS, _TCP, 53, "echo", _FIVE),
    (DRAINED, _TCP, 80, "web", _FIVE),
    (SIX, _TCP, 80, "six-gre", _FIVE),
    (SIX, _UDP, 7000, "six-ipip", _FIVE),
    (KEYED, _TCP, 80, "keyed", _FIVE),
    (BEHIND_TAG, _TCP, 80, "tagged", _FIVE),
    (BEHIND_TAG, _TCP, 81, "tagged-six", _FIVE),
    (LOCAL, _TCP, 80, "local", _FIVE),
    (AFFINE, _TCP, 80, "web", _CLIENT),
    (AFFINE, _UDP, 80, "web", _CLIENT),
    (AFFINE, _TCP, 81, "web", _CLIENT),
    (PORTED, _TCP, 80, "web", _PORT),
    (PORTED, _UDP, 80, "web", _PORT),
    (PORTED, _TCP, 81, "web", _PORT),
    (AFFINE_ANY, _TCP, 0, "web", _PORT),
    (QUIC, _UDP, 443, "quic", _FIVE),
    (QUIC, _TCP, 443, "quic", _FIVE),
    (NET, _TCP, 80, "web", _FIVE),
    (NET_INNER, _TCP, 81, "echo", _FIVE),
    (NET_ONE, _TCP, 82, "web", _FIVE),
    (WEB6, _TCP, 80, "web", _FIVE),
    (WEB6, _UDP, 443, "web", _FIVE),
    (ECHO6, _TCP, 7000, "echo", _FIVE),
    (ECHO6, _UDP, 7000, "echo", _FIVE),
    (ANY6, _TCP, 0, "web", _FIVE),
    (ANY6, _UDP, 0, "web", _FIVE),
    (ANY6, _TCP, 80, "echo", _FIVE),
    (EMPTY6, _TCP, 80, "empty", _FIVE),
    (CORRUPT6, _TCP, 80, "corrupt", _FIVE),
    (UNRESOLVED6, _TCP, 80, "unresolved", _FIVE),
    (FAR6, _TCP, 80, "far", _FIVE),
    (DRAINED6, _TCP, 80, "web", _FIVE),
    (SIX6, _TCP, 80, "six-gre", _FIVE),
    (SIX6, _UDP, 7000, "six-ipip", _FIVE),
    (KEYED6, _TCP, 80, "keyed", _FIVE),
    (BEHIND_TAG6, _TCP, 80, "tagged", _FIVE),
    (BEHIND_TAG6, _TCP, 81, "tagged-six", _FIVE),
    (LOCAL6, _TCP, 80, "local", _FIVE),
    (AFFINE6, _TCP, 80, "six-gre", _CLIENT),
    (AFFINE6, _UDP, 80, "six-gre", _CLIENT),
    (QUIC6, _UDP, 443, "quic", _FIVE),
    (NET6, _TCP, 80, "web", _FIVE),
    (NET6_INNER, _TCP, 81, "echo", _FIVE),
    (NET6_ONE, _TCP, 82, "web", _FIVE),
)


def vip_of(text: str) -> Vip:
    """A VIP as the rows write it."""
    return ip_network(text) if "/" in text else ip_address(text)


STATE = ForwarderState(
    seed=SEED,
    table_size=TABLE_SIZE,
    outer_source=IPv4Network(f"{EDGE}/32"),
    mtu=MTU,
    services=tuple(
        Service(number, vip_of(vip), protocol, port, list(_POOLS).index(pool), mode, (protocol, pool) == (_UDP, "quic"))
        for number, (vip, protocol, port, pool, mode) in enumerate(_SERVICES, start=1)
    ),
    pools=POOLS,
    backends=BACKENDS,
    infrastructure=frozenset(
        map(ip_address, (EDGE, OTHER_EDGE, HOST, "10.0.9.1", "10.0.9.2", "10.0.9.3", EDGE6, HOST6))
    ),
    echo_vips=frozenset(map(vip_of, (WEB, ECHO, SILENT, NET_INNER, WEB6, ECHO6, SILENT6, NET6))),
    generation=1,
    outer_source6=OUTER6,
    quic=QUIC_LB,
)
TAGGED = dataclasses.replace(STATE, vlans=True)
PROTECTION = Protection(drop_private=True, blocking=True, reflection_ports=frozenset({53, 123, 1900, 11211}))
GUARDED = dataclasses.replace(TAGGED, protection=PROTECTION)
STATES = {"plain": STATE, "tagged": TAGGED, "guarded": GUARDED}
BLOCKED = ("192.0.2.0/24", "198.51.100.77/32", "2001:db8:bad::/48", "2001:db8:c::bad/128")
WATCHED = ("192.0.2.128/25", "198.51.100.78/32", "2001:db8:bad:1::/64")  # the longest prefix decides


class Blocked:
    """A block list as the oracle asks it: by the longest prefix."""

    def lookup(self, address: IpAddress) -> bool | None:
        """True: only counted. False: blocked. None: not listed."""
        rules = [(ip_network(text), text in WATCHED) for text in (*BLOCKED, *WATCHED)]
        found = [(network.prefixlen, dry) for network, dry in rules if address in network]
        return max(found)[1] if found else None


OWN = "10.0.9.1"  # the backend of the decapsulator tests
OWN6 = "2001:db8:9::1"
MANAGEMENT, MANAGEMENT6 = "192.0.2.5", "2001:db8:dead::5"
EDGE_PREFIX = "10.77.0.0/16"
SHARED_PREFIX = "100.64.7.0/24"  # edges too, out of space that no rule calls internal
EDGE_PREFIX6 = str(OUTER6)
DECAP_STATE = DecapState(
    addresses=frozenset(map(ip_address, (OWN, OWN6))),
    vips=frozenset(map(vip_of, (WEB, ECHO, SIX, NET, WEB6, ECHO6, SIX6, NET6))),
    edges=(
        *map(ip_network, (f"{EDGE}/32", f"{OTHER_EDGE}/32", EDGE_PREFIX, SHARED_PREFIX)),
        *map(ip_network, (f"{EDGE6}/128", EDGE_PREFIX6)),
    ),
    infrastructure=frozenset(map(ip_address, (MANAGEMENT, "10.0.9.2", MANAGEMENT6, "2001:db8:9::2"))),
)
DECAP_KEYED = dataclasses.replace(DECAP_STATE, key=KEY)
DECAP_STATES = {"plain": DECAP_STATE, "keyed": DECAP_KEYED}


class Flow(NamedTuple):
    """Where a flow must go, and the number that says so."""

    backend: Backend
    hash: int


def flow(vip: str, protocol: int, client: str, client_port: int, vip_port: int) -> Flow:
    """The backend that owns a flow, worked out from the documented bytes and `mmh3` alone."""
    wanted = vip_of(vip)
    found = [s for s in STATE.services if (s.vip, s.protocol) == (wanted, protocol) and s.port in (0, vip_port)]
    service = max(found, key=lambda s: s.port)
    hashed_port = vip_port if service.port else 0
    ports = client_port.to_bytes(2, "big") + hashed_port.to_bytes(2, "big") + bytes((protocol,))
    if service.hashing is HashMode.CLIENT:
        ports = bytes(5)
    if service.hashing is HashMode.CLIENT_PORT:
        ports = bytes(2) + ports[2:]
    number = mmh3.hash(ip_address(client).packed + ports + bytes(3), SEED, signed=False)
    return Flow(backend(STATE.pools[service.pool].slots[number * TABLE_SIZE >> 32]), number)


def backend(number: int) -> Backend:
    """The backend of an id."""
    return next(b for b in STATE.backends if b.id == number)


def backend_of(vip: str, protocol: int, client: str, client_port: int, vip_port: int) -> Backend:
    """The backend that owns a flow."""
    return flow(vip, protocol, client, client_port, vip_port).backend
