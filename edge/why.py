"""Where would this flow go? The question in text, the packet that asks it, and the answer read from what comes out.

The same frame goes to the oracle and, where one is loaded, to the real program; `agree` says whether they concur.
"""

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from edge.datapath.hashing import FlowKey, flow_hash, slot_of
from edge.datapath.model import ForwarderState, Protocol

_FLOW = re.compile(r"^(?P<address>[0-9.]+):(?P<port>[0-9]+)$")
_ETHERNET, _IP = struct.Struct("!6s6sH"), struct.Struct("!BBHHHBBH4s4s")
_TCP, _UDP = struct.Struct("!HHIIBBHHH"), struct.Struct("!HHHH")
_DATA_OFFSET, _ACK = 5 << 4, 0x10
_TUNNELS = {4: "ipip", 47: "gre"}


class FlowError(ValueError):
    """A flow that is not written as expected; the text says what was."""


@dataclass(frozen=True, slots=True)
class FiveTuple:
    """A flow from the client's side."""

    client: IPv4Address
    client_port: int
    vip: IPv4Address
    vip_port: int
    protocol: Protocol

    def __str__(self) -> str:
        return f"{self.client}:{self.client_port} {self.vip}:{self.vip_port}/{self.protocol.name.lower()}"


@dataclass(frozen=True, slots=True)
class Path:
    """What became of a packet: XDP's verdict, the reason counted, and where its tunnel leads, if it is in one."""

    verdict: str
    reason: str
    backend: IPv4Address | None
    encap: str | None


def parse_flow(source: str, destination: str) -> FiveTuple:
    """`SRC:PORT` and `VIP:PORT/PROTO` as a flow. Raises `FlowError`."""
    target, slash, protocol = destination.partition("/")
    if not slash or protocol not in ("tcp", "udp"):
        raise FlowError(f"'{destination}': expected VIP:PORT/tcp or VIP:PORT/udp, such as 203.0.113.10:80/tcp")
    client, client_port = _endpoint(source, "SRC:PORT, such as 198.51.100.7:40000")
    vip, vip_port = _endpoint(target, "VIP:PORT/PROTO, such as 203.0.113.10:80/tcp")
    return FiveTuple(client, client_port, vip, vip_port, Protocol[protocol.upper()])


def _endpoint(text: str, expected: str) -> tuple[IPv4Address, int]:
    match = _FLOW.match(text)
    try:
        if match and 0 < int(match["port"]) < 65536:
            return IPv4Address(match["address"]), int(match["port"])
    except ValueError:
        pass
    raise FlowError(f"'{text}': expected {expected}")


def frame(flow: FiveTuple, destination_mac: bytes = b"\x02\0\0\0\0\1") -> bytes:
    """An Ethernet frame of this flow: a TCP segment with ACK and no payload, or an empty UDP datagram."""
    if flow.protocol is Protocol.TCP:
        transport = _TCP.pack(flow.client_port, flow.vip_port, 1, 1, _DATA_OFFSET, _ACK, 65535, 0, 0)
    else:
        transport = _UDP.pack(flow.client_port, flow.vip_port, _UDP.size, 0)
    total = _IP.size + len(transport)
    header = (0x45, 0, total, 0, 0x4000, 64, int(flow.protocol))
    bare = _IP.pack(*header, 0, flow.client.packed, flow.vip.packed)
    packet = _IP.pack(*header, _checksum(bare), flow.client.packed, flow.vip.packed) + transport
    return _ETHERNET.pack(destination_mac, b"\x02\0\0\0\0\2", 0x0800) + packet


def _checksum(header: bytes) -> int:
    """The Internet checksum (RFC 1071) of a header whose checksum field is zero."""
    total = int(sum(struct.unpack(f"!{len(header) // 2}H", header)))
    total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - (total + (total >> 16)) % 0x10000


def path(verdict: str, reason: str, out: bytes | None) -> Path:
    """Read an outcome: the tunnel's destination is the backend's address."""
    if verdict not in ("tx", "redirect") or out is None:
        return Path(verdict, reason, None, None)
    outer = _IP.unpack_from(out, _ETHERNET.size)
    return Path(verdict, reason, IPv4Address(outer[9]), _TUNNELS.get(outer[6]))


def slot(flow: FiveTuple, state: ForwarderState) -> int:
    """The slot of the lookup_table that owns the flow."""
    key = FlowKey(flow.client, flow.client_port, flow.vip_port, int(flow.protocol))
    return int(slot_of(flow_hash(key, state.seed), state.table_size))


def describe(flow: FiveTuple, state: ForwarderState, by_oracle: Path, by_program: Path | None) -> dict[str, Any]:
    """The answer as facts for JSON and for people. `agree` is None where no program is loaded."""
    names = {backend.address: backend.name for backend in state.backends}
    agree = None if by_program is None else by_program == by_oracle
    return {
        "flow": str(flow),
        "slot": slot(flow, state),
        "backend": names.get(by_oracle.backend) if by_oracle.backend else None,
        "oracle": _facts(by_oracle),
        "program": _facts(by_program) if by_program else None,
        "agree": agree,
    }


def _facts(found: Path) -> dict[str, Any]:
    backend = str(found.backend) if found.backend else None
    return {"verdict": found.verdict, "reason": found.reason, "address": backend, "encap": found.encap}
