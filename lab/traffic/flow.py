"""A flow as everything in the lab names it: client, VIP and transport. No I/O."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

IpAddress = IPv4Address | IPv6Address
TCP = 6
UDP = 17


class Flow(NamedTuple):
    """The five_tuple of a flow, in the direction from the client to the VIP. `protocol` is the IP protocol number."""

    client: IpAddress
    client_port: int
    vip: IpAddress
    vip_port: int
    protocol: int

    def __str__(self) -> str:
        name = {TCP: "tcp", UDP: "udp"}.get(self.protocol, str(self.protocol))
        return f"{name} {_at(self.client, self.client_port)} -> {_at(self.vip, self.vip_port)}"

    def to_json(self) -> list[str | int]:
        """The five members in their order, addresses as text."""
        return [str(self.client), self.client_port, str(self.vip), self.vip_port, self.protocol]


def flow_from_json(value: object) -> Flow:
    """Read what `Flow.to_json` wrote; ValueError for anything else."""
    match value:
        case [str(client), int(client_port), str(vip), int(vip_port), int(protocol)]:
            return make_flow(client, client_port, vip, vip_port, protocol)
    raise ValueError(f"flow: {value!r} is not [client, client port, vip, vip port, protocol]")


def make_flow(client: str, client_port: int, vip: str, vip_port: int, protocol: int = TCP) -> Flow:
    """A flow from textual addresses; ValueError when an address or a port cannot be one."""
    for port in (client_port, vip_port):
        if not 0 <= port <= 65535:
            raise ValueError(f"flow: port {port} is outside 0..65535")
    try:
        ends = ip_address(client), ip_address(vip)
    except ValueError as error:
        raise ValueError(f"flow: {error}") from error
    if ends[0].version != ends[1].version:
        raise ValueError(f"flow: {client} and {vip} are of two families")
    return Flow(ends[0], client_port, ends[1], vip_port, protocol)


def _at(address: IpAddress, port: int) -> str:
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def flow_of_sockets(local: Sequence[object], remote: Sequence[object], protocol: int = TCP) -> Flow:
    """The flow of a connected client socket, from its getsockname and getpeername."""
    return make_flow(str(local[0]), int(str(local[1])), str(remote[0]), int(str(remote[1])), protocol)
