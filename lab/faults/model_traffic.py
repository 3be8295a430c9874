"""Traffic that nobody wants, as a fault."""

from typing import Annotated, ClassVar

from pydantic import Field

from lab.faults.model_base import Fault, Packets, Prefix, Target


class SynFlood(Fault):
    """A node sends SYNs with spoofed sources at `rate` packets a second to a service or address and port."""

    kind: ClassVar[str] = "syn-flood"
    node: str
    to: Target
    rate: Packets = 10_000
    sources: Prefix = ""


class UdpFlood(Fault):
    """A node sends datagrams of `bytes` with spoofed sources at `rate` packets a second."""

    kind: ClassVar[str] = "udp-flood"
    node: str
    to: Target
    rate: Packets = 10_000
    sources: Prefix = ""
    bytes: Annotated[int, Field(ge=0, le=1400)] = 64


class PtbStorm(Fault):
    """A router sends forged ICMP "packet too big" (`mtu`) about flows between `sources` and a service, at `rate`."""

    kind: ClassVar[str] = "ptb-storm"
    node: str
    to: Target
    rate: Packets = 1_000
    sources: Prefix = ""
    mtu: Annotated[int, Field(ge=68, le=65_535)] = 1280
