"""Where would this flow go? The question in text, the packet that asks it, and the answer read from what comes out.

The same frame goes to the oracle and, where one is loaded, to the real program; `agree` says whether they concur.
"""

import re
import struct
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from edge.datapath.abi import Note
from edge.datapath.headers import ipv4_header, ipv6_header, read_link
from edge.datapath.model import ForwarderState, IpAddress, Protocol
from edge.datapath.outcome import Choice

_FLOW = re.compile(r"^(?:(?P<four>[0-9.]+)|\[(?P<six>[0-9A-Fa-f:.]+)\]):(?P<port>[0-9]{1,5})$")
_TCP, _UDP = struct.Struct("!HHIIBBHHH"), struct.Struct("!HHHH")
_DATA_OFFSET, _ACK = 5 << 4, 0x10
OWN_MAC, _SOURCE_MAC = b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2"
_TUNNELS = {4: "ipip", 41: "ipip", 47: "gre"}
_LOCAL = "local"  # no tunnel: the backend is this host


class FlowError(ValueError):
    """A flow that is not written as expected; the text says what was."""


@dataclass(frozen=True, slots=True)
class FiveTuple:
    """A flow from the client's side."""

    client: IpAddress
    client_port: int
    vip: IpAddress
    vip_port: int
    protocol: Protocol

    def __str__(self) -> str:
        client, vip = (f"[{each}]" if each.version == 6 else str(each) for each in (self.client, self.vip))
        return f"{client}:{self.client_port} {vip}:{self.vip_port}/{self.protocol.name.lower()}"


@dataclass(frozen=True, slots=True)
class Path:
    """What became of a packet: XDP's verdict, the reason counted, and where its tunnel leads, if it is in one.

    `encap` "local": it is for this host, which is the backend, and in no tunnel.
    """

    verdict: str
    reason: str
    backend: IpAddress | None
    encap: str | None


def parse_flow(source: str, destination: str) -> FiveTuple:
    """`SRC:PORT` and `VIP:PORT/PROTO` as a flow, IPv6 addresses in brackets. Raises `FlowError`."""
    target, slash, protocol = destination.partition("/")
    if not slash or protocol not in ("tcp", "udp"):
        raise FlowError(f"'{destination}': expected VIP:PORT/tcp or VIP:PORT/udp, such as 203.0.113.10:80/tcp")
    client, client_port = _endpoint(source, "SRC:PORT, such as 198.51.100.7:40000 or [2001:db8::7]:40000")
    vip, vip_port = _endpoint(target, "VIP:PORT/PROTO, such as 203.0.113.10:80/tcp or [2001:db8:1::10]:80/tcp")
    if client.version != vip.version:
        raise FlowError(f"'{source}' and '{destination}': expected addresses of one family")
    return FiveTuple(client, client_port, vip, vip_port, Protocol[protocol.upper()])


def _endpoint(text: str, expected: str) -> tuple[IpAddress, int]:
    match = _FLOW.match(text)
    try:
        if match and 0 < int(match["port"]) < 65536:
            return ip_address(match["four"] or match["six"]), int(match["port"])
    except ValueError:
        pass
    raise FlowError(f"'{text}': expected {expected}")


def frame(flow: FiveTuple, destination_mac: bytes = OWN_MAC) -> bytes:
    """An Ethernet frame of this flow: a TCP segment with ACK and no payload, or an empty UDP datagram.

    The forwarder does not look at the transport's checksum; it is left 0.
    """
    if flow.protocol is Protocol.TCP:
        transport = _TCP.pack(flow.client_port, flow.vip_port, 1, 1, _DATA_OFFSET, _ACK, 65535, 0, 0)
    else:
        transport = _UDP.pack(flow.client_port, flow.vip_port, _UDP.size, 0)
    header, kind = (ipv4_header, b"\x08\0") if flow.vip.version == 4 else (ipv6_header, b"\x86\xdd")
    ip = header(flow.client, flow.vip, flow.protocol, len(transport))
    return destination_mac + _SOURCE_MAC + kind + ip + transport


def path(verdict: str, reason: str, out: bytes | None, notes: Collection[Note] = ()) -> Path:
    """Read an outcome: the tunnel's destination is the backend's address."""
    if Note.LOCAL in notes:
        return Path(verdict, reason, None, _LOCAL)
    if verdict not in ("tx", "redirect") or out is None:
        return Path(verdict, reason, None, None)
    _, outer = read_link(out, vlans=True)
    encap = _TUNNELS.get(outer.protocol)
    return Path(verdict, reason, outer.destination if encap else None, encap)


def describe(
    flow: FiveTuple, state: ForwarderState, by_oracle: Path, by_program: Path | None, choice: Choice | None = None
) -> dict[str, Any]:
    """The answer as facts for JSON and for people.

    `choice`: how the oracle found the backend; without one (no service has the packet) there is no slot. `agree` is
    None where no program is loaded.
    """
    names = {backend.id: backend.name for backend in state.backends}
    agree = None if by_program is None else by_program == by_oracle
    return {
        "flow": str(flow),
        "slot": choice.slot if choice else None,
        "backend": names.get(choice.backend) if choice else None,
        "oracle": _facts(by_oracle),
        "program": _facts(by_program) if by_program else None,
        "agree": agree,
    }


def _facts(found: Path) -> dict[str, Any]:
    backend = str(found.backend) if found.backend else None
    return {"verdict": found.verdict, "reason": found.reason, "address": backend, "encap": found.encap}
