"""The small world of the packet tests: an edge with a service of each kind, and one backend that decapsulates."""

from ipaddress import IPv4Address, IPv4Network

import mmh3

from edge.datapath.model import (
    Backend,
    DecapState,
    Encap,
    ForwarderState,
    NextHop,
    Pool,
    Protocol,
    Service,
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
FREE = "203.0.113.99"  # no VIP

_WEB_POOL, _ECHO_POOL, _EMPTY_POOL, _CORRUPT_POOL, _BEYOND_POOL, _UNRESOLVED_POOL, _FAR_POOL, _ABSENT_POOL = range(8)
BACKENDS = (
    Backend(1, "w1", IPv4Address("10.0.9.1"), Encap.GRE, HOP),
    Backend(2, "w2", IPv4Address("10.0.9.2"), Encap.GRE, HOP),
    Backend(3, "w3", IPv4Address("10.0.9.3"), Encap.GRE, HOP),
    Backend(4, "e1", IPv4Address("10.0.9.1"), Encap.IPIP, HOP),
    Backend(5, "e2", IPv4Address("10.0.9.2"), Encap.IPIP, HOP),
    Backend(6, "unresolved", IPv4Address("10.0.9.6"), Encap.GRE, None),
    Backend(7, "far", IPv4Address("10.0.9.7"), Encap.IPIP, OTHER_HOP),
)
POOLS = (
    Pool(tuple(1 + slot % 3 for slot in range(TABLE_SIZE))),
    Pool(tuple(4 + slot % 2 for slot in range(TABLE_SIZE))),
    Pool(()),
    Pool((99,) * TABLE_SIZE),
    Pool((60_000,) * TABLE_SIZE),
    Pool((6,) * TABLE_SIZE),
    Pool((7,) * TABLE_SIZE),
    Pool(()),
)
_TCP, _UDP = Protocol.TCP, Protocol.UDP
_SERVICES = (
    (WEB, _TCP, 80, _WEB_POOL),
    (WEB, _UDP, 443, _WEB_POOL),
    (ECHO, _TCP, 7000, _ECHO_POOL),
    (ECHO, _UDP, 7000, _ECHO_POOL),
    (ANY, _TCP, 0, _WEB_POOL),
    (EMPTY, _TCP, 80, _EMPTY_POOL),
    (ABSENT, _TCP, 80, _ABSENT_POOL),
    (CORRUPT, _TCP, 80, _CORRUPT_POOL),
    (BEYOND, _TCP, 80, _BEYOND_POOL),
    (UNRESOLVED, _TCP, 80, _UNRESOLVED_POOL),
    (FAR, _TCP, 80, _FAR_POOL),
    (DNS, _UDP, 53, _WEB_POOL),
    (DNS, _TCP, 53, _ECHO_POOL),
    (DRAINED, _TCP, 80, _WEB_POOL),
)
STATE = ForwarderState(
    seed=SEED,
    table_size=TABLE_SIZE,
    outer_source=IPv4Network(f"{EDGE}/32"),
    mtu=MTU,
    services=tuple(
        Service(number, IPv4Address(vip), protocol, port, pool)
        for number, (vip, protocol, port, pool) in enumerate(_SERVICES, start=1)
    ),
    pools=POOLS,
    backends=BACKENDS,
    infrastructure=frozenset(map(IPv4Address, (EDGE, OTHER_EDGE, HOST, "10.0.9.1", "10.0.9.2", "10.0.9.3"))),
    echo_vips=frozenset(map(IPv4Address, (WEB, ECHO, SILENT))),
    generation=1,
)
ABSENT_POOL_INDEX = _ABSENT_POOL

OWN = "10.0.9.1"  # the backend of the decapsulator tests
MANAGEMENT = "192.0.2.5"
EDGE_PREFIX = "10.77.0.0/16"
SHARED_PREFIX = "100.64.7.0/24"  # edges too, out of space that no rule calls internal
DECAP_STATE = DecapState(
    address=IPv4Address(OWN),
    vips=frozenset(map(IPv4Address, (WEB, ECHO))),
    edges=(
        IPv4Network(f"{EDGE}/32"),
        IPv4Network(f"{OTHER_EDGE}/32"),
        IPv4Network(EDGE_PREFIX),
        IPv4Network(SHARED_PREFIX),
    ),
    infrastructure=frozenset(map(IPv4Address, (MANAGEMENT, "10.0.9.2"))),
)


def backend_of(vip: str, protocol: int, client: str, client_port: int, vip_port: int) -> Backend:
    """The backend that owns a flow, worked out from the documented bytes and `mmh3` alone."""
    service = next(s for s in STATE.services if (str(s.vip), s.protocol) == (vip, protocol) and s.port in (0, vip_port))
    hashed_port = vip_port if service.port else 0
    key = IPv4Address(client).packed + client_port.to_bytes(2, "big") + hashed_port.to_bytes(2, "big")
    number = mmh3.hash(key + bytes((protocol, 0, 0, 0)), SEED, signed=False)
    identity = STATE.pools[service.pool].slots[number * TABLE_SIZE >> 32]
    return next(b for b in STATE.backends if b.id == identity)
