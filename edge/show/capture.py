"""What a traced packet was, for people and for programs (core: no I/O)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from edge.config.file import Config
from edge.datapath.abi import Reason, Verdict
from edge.datapath.headers import (
    GRE,
    ICMP,
    ICMP6,
    IPIP,
    SIX_IN_FOUR,
    TCP,
    TUNNELS,
    UDP,
    Ip,
    parse_ipv4,
    parse_ipv6,
    read_link,
    word,
)
from edge.datapath.model import IpAddress
from edge.datapath.outcome import DroppedError, PassedError
from edge.datapath.trace import Event

_PROTOCOLS = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp6", IPIP: "ipip", SIX_IN_FOUR: "6in4", GRE: "gre"}
_GRE_CHECKSUM, _GRE_KEY, _GRE_SEQUENCE = 0x8000, 0x2000, 0x1000


def names_of(config: Config) -> dict[IpAddress, str]:
    """Address -> names of the backends that have it."""
    found: dict[IpAddress, list[str]] = {}
    for pool, entry in config.pools.items():
        for backend in entry.backends:
            found.setdefault(backend.address, []).append(f"{pool}/{backend.name}")
    return {address: ",".join(names) for address, names in found.items()}


def facts(event: Event, interface: str, wall: int, names: Mapping[IpAddress, str]) -> dict[str, Any]:
    """A packet as facts for JSON. `wall` is its time in ns since 1970, `names` are those of the backends."""
    outer, inner = _packets(event)
    told: dict[str, Any] = {
        "time": _stamp(wall),
        "interface": interface,
        "verdict": event.verdict.name.lower(),
        "reason": event.reason.label,
        "length": event.length,
        "source": None,
        "source_port": None,
        "destination": None,
        "destination_port": None,
        "protocol": None,
        "backend": None,
        "backend_name": None,
    }
    packet = inner or outer
    if packet is not None:
        told |= _five_tuple(packet)
    if inner is not None and outer is not None:
        told |= {"backend": str(outer.destination), "backend_name": names.get(outer.destination)}
    return told


def line(told: Mapping[str, Any]) -> str:
    """A packet as one line: time, interface, verdict and reason, five-tuple, where its tunnel leads."""
    reason = f" {told['reason']}" if told["reason"] != Reason.NONE.label else ""
    words = [told["time"], told["interface"], told["verdict"] + reason]
    if told["protocol"] is None:
        words.append(f"no IP, {told['length']} bytes")
    else:
        source = _endpoint(told["source"], told["source_port"])
        words.append(f"{source} > {_endpoint(told['destination'], told['destination_port'])}/{told['protocol']}")
    if told["backend"]:
        name = f" ({told['backend_name']})" if told["backend_name"] else ""
        words.append(f"-> {told['backend']}{name}")
    return " ".join(words)


def _stamp(wall: int) -> str:
    seconds, rest = divmod(wall, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _endpoint(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _packets(event: Event) -> tuple[Ip | None, Ip | None]:
    """The packet in the frame, and if it is a tunnel to a backend, what is in it."""
    try:
        _, outer = read_link(event.frame, vlans=True)
    except (DroppedError, PassedError):
        return None, None
    sent = event.verdict in (Verdict.TX, Verdict.REDIRECT)
    return outer, _inner(outer) if sent and outer.protocol in TUNNELS else None


def _inner(outer: Ip) -> Ip | None:
    payload = outer.raw[outer.header_length :]
    if outer.protocol == GRE:
        if len(payload) < 4:
            return None
        flags = word(payload, 0)
        options = (_GRE_CHECKSUM, _GRE_KEY, _GRE_SEQUENCE)
        payload = payload[4 + 4 * sum(bool(flags & option) for option in options) :]
    version = payload[0] >> 4 if payload else 0
    return {4: parse_ipv4, 6: parse_ipv6}.get(version, lambda _: None)(payload)


def _five_tuple(packet: Ip) -> dict[str, Any]:
    ports: list[int | None] = [None, None]
    transport = packet.raw[packet.header_length :]
    if packet.protocol in (TCP, UDP) and not packet.fragment & 0x1FFF and len(transport) >= 4:
        ports = [word(transport, 0), word(transport, 2)]
    return {
        "source": str(packet.source),
        "source_port": ports[0],
        "destination": str(packet.destination),
        "destination_port": ports[1],
        "protocol": _PROTOCOLS.get(packet.protocol, str(packet.protocol)),
    }
