"""Whom this node announces its VIPs to, and how: the announcer of a fairhop.yaml (core: no I/O)."""

from typing import Annotated

from pydantic import Field

from edge.decode import Model
from edge.scalars import Address, Address6, Asn, Integer, Name, Seconds


class PeerConfig(Model):
    """A router that is told the VIPs, over IPv4. `local_address6` is the next hop that it is given for IPv6 VIPs."""

    name: Name
    address: Address
    local_address: Address
    local_address6: Address6 | None = None
    asn: Asn


class AnnouncerConfig(Model):
    """ExaBGP's side. A VIP whose `lease` is not renewed is withdrawn; `hold_time` is BGP's, whole seconds."""

    asn: Asn
    router_id: Address
    peers: Annotated[tuple[PeerConfig, ...], Field(min_length=1)]
    hold_time: Annotated[Integer, Field(ge=3, le=65535)] = 9
    lease: Annotated[Seconds, Field(le=60)] = 2.0
    user: str = "nobody"
    run_dir: str = "/run/fairhop/announcer"
