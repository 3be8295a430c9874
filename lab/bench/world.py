"""The world that the bench's packets meet (core: no I/O): services over at most 256 VIPs, one pool, its backends."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from edge.datapath.model import DEFAULT_TABLE_SIZE, Backend, Encap, ForwarderState, NextHop, Pool, Protocol, Service

LOOPBACK = 1  # the ingress interface of every test run
OWN_MAC = bytes.fromhex("02000000ed01")
ROUTER_MAC = bytes.fromhex("020000000701")
VIP = IPv4Address("203.0.112.0")  # and the 255 addresses after it
VIPS = 256  # driver.bpf.c knows this number as a shift
FIRST_PORT = 80
CLIENT = IPv4Address("198.51.0.0")  # the driver counts in the lower half
VIP6 = IPv6Address("2001:db8:b::1")
CLIENT6 = IPv6Address("2001:db8:c:1:2:3:4:0")
HOST = IPv4Address("10.0.5.0")
EDGE = IPv4Address("10.0.5.1")
_FIRST_BACKEND = IPv4Address("10.64.0.1")
_STRIDE = 7919  # prime: neighbouring slots get backends that lie apart in memory


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is configured: TCP services, which the packets of a case are spread over, and backends."""

    services: int = 1
    backends: int = 10


def state(
    scale: Scale, encap: Encap = Encap.GRE, table_size: int = DEFAULT_TABLE_SIZE, hop: NextHop | None = None
) -> ForwarderState:
    """Service s is VIP + s % 256, port 80 + s // 256, all in one pool; VIP:80 has UDP besides, and VIP6:80 TCP."""
    hop = hop or NextHop(LOOPBACK, OWN_MAC, ROUTER_MAC)
    services = [
        Service(number + 1, VIP + number % VIPS, Protocol.TCP, FIRST_PORT + number // VIPS, 0)
        for number in range(scale.services)
    ]
    services.append(Service(scale.services + 1, VIP, Protocol.UDP, FIRST_PORT, 0))
    services.append(Service(scale.services + 2, VIP6, Protocol.TCP, FIRST_PORT, 0))
    backends = tuple(
        Backend(number + 1, f"b{number}", _FIRST_BACKEND + number, encap, hop) for number in range(scale.backends)
    )
    return ForwarderState(
        seed=2718281828,
        table_size=table_size,
        outer_source=IPv4Network(f"{EDGE}/32"),
        mtu=1500,
        services=tuple(services),
        pools=(Pool(tuple(1 + slot * _STRIDE % scale.backends for slot in range(table_size))),),
        backends=backends,
        generation=1,
    )
