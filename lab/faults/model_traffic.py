"""Traffic that nobody wants, as a fault."""

from typing import Annotated, ClassVar

from pydantic import Field

from lab.faults.model_base import Fault, Packets, Prefix, Target


class Sending(Fault):
    """Base: a node sends packets at `rate` a second to a service or address and port, about or from `sources`."""

    node: str
    to: Target
    rate: Packets = 10_000
    sources: Prefix = ""


class SynFlood(Sending):
    """A node sends SYNs with spoofed sources at `rate` packets a second to a service or address and port."""

    kind: ClassVar[str] = "syn-flood"


class UdpFlood(Sending):
    """A node sends datagrams of `bytes` with spoofed sources at `rate` packets a second."""

    kind: ClassVar[str] = "udp-flood"
    bytes: Annotated[int, Field(ge=0, le=1400)] = 64


class PtbStorm(Sending):
    """A router sends forged ICMP "packet too big" (`mtu`) about flows between `sources` and a service, at `rate`."""

    kind: ClassVar[str] = "ptb-storm"
    rate: Packets = 1_000
    mtu: Annotated[int, Field(ge=68, le=65_535)] = 1280
