"""Whom this node announces its VIPs to, and how: the announcer of a fairhop.yaml (core: no I/O)."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from bgp import digest
from bgp.attributes import BLACKHOLE, PREPEND_MAX, valid_community, valid_extended_community, valid_large_community
from edge.config.read_back import ReadBackConfig
from edge.text.decode import Model
from edge.text.scalars import Address, Address6, Asn, Boolean, EitherAddress, Integer, Name, Port, Seconds

WELL_KNOWN: Final = {
    "graceful-shutdown": "65535:0",
    "no-export": "65535:65281",
    "no-advertise": "65535:65282",
    "no-peer": "65535:65284",
}
"""Communities by their names (RFC 1997, 3765, 8326). Blackhole is none of them: it is the operator's verb alone."""


def _community(value: Any) -> Any:
    text = WELL_KNOWN.get(value, value) if isinstance(value, str) else value
    if not isinstance(text, str) or not valid_community(text):
        raise ValueError(f"expected asn:value, each 0 to 65535, or one of {', '.join(sorted(WELL_KNOWN))}")
    if text == BLACKHOLE:
        raise ValueError("expected another community: only `fairhop blackhole` asks routers to drop packets")
    return text


def _large(value: Any) -> Any:
    if not isinstance(value, str) or not valid_large_community(value):
        raise ValueError("expected three numbers from 0 to 4294967295, such as 65110:1:2")
    if digest.is_ours(value):
        raise ValueError(f"expected another second number: {digest.FUNCTION} is for digests of configurations")
    return value


def _extended(value: Any) -> Any:
    if not isinstance(value, str) or not valid_extended_community(value):
        raise ValueError("expected target:, origin: or bandwidth: and asn:value, to 65535 and 4294967295")
    return value


def _interface(value: str) -> str:
    if not 1 <= len(value) <= 15:
        raise ValueError("expected 1 to 15 letters, digits and any of _.-")
    return value


KeyFile = Annotated[str, Field(pattern=r"^(/|\$CREDENTIALS_DIRECTORY/)[!-~]+$")]


class AttributesConfig(Model):
    """What routers are told of a VIP. `prepend` is how many times more than once our ASN is in the path."""

    med: Annotated[Integer, Field(ge=0, le=0xFFFFFFFF)] | None = None
    prepend: Annotated[Integer, Field(ge=0, lt=PREPEND_MAX)] | None = None
    communities: tuple[Annotated[str, BeforeValidator(_community)], ...] | None = None
    large_communities: tuple[Annotated[str, BeforeValidator(_large)], ...] | None = None
    extended_communities: tuple[Annotated[str, BeforeValidator(_extended)], ...] | None = None


Attributes = dict[Literal["announced", "de-preferred", "blackholed"], AttributesConfig]
"""By stance; what a stance does not say is as when announced."""


class BfdAuthConfig(Model):
    """How BFD packets with a peer are authenticated (RFC 5880, 6.7). `key_file` holds the key in one line."""

    type: Literal["password", "sha1", "meticulous-sha1"]
    key_id: Annotated[Integer, Field(ge=0, le=255)]
    key_file: KeyFile


class PeerBfdConfig(Model):
    """Bidirectional forwarding detection with one peer, where it differs from the announcer's."""

    tx: Annotated[Seconds, Field(ge=0.005, le=60)] | None = None
    rx: Annotated[Seconds, Field(ge=0.005, le=60)] | None = None
    multiplier: Annotated[Integer, Field(ge=1, le=255)] | None = None
    auth: BfdAuthConfig | None = None


class PeerConfig(Model):
    """A router that is told the VIPs, over IPv4 or IPv6. `local_address6` is the next hop of IPv6 VIPs.

    `local_address4` is that of IPv4 VIPs over IPv6; without it they have an IPv6 next hop (RFC 8950). `port` is the
    router's, or ours where it is `passive` and connects to us. `md5_file` holds the TCP MD5 key; `ttl_security`: GTSM.
    """

    name: Name
    address: EitherAddress
    local_address: EitherAddress
    local_address6: Address6 | None = None
    local_address4: Address | None = None
    asn: Asn
    interface: Annotated[Name, AfterValidator(_interface)] | None = None
    port: Port = 179
    passive: Boolean = False
    multihop: Annotated[Integer, Field(ge=2, le=255)] | None = None
    ttl_security: Boolean = False
    md5_file: KeyFile | None = None
    attributes: Attributes = Field(default_factory=dict)
    bfd: PeerBfdConfig | Literal["off"] = PeerBfdConfig()


class HeartbeatConfig(Model):
    """The daemon and the forwarder beat every `interval` seconds; `misses` of them missed take BFD down."""

    interval: Annotated[Seconds, Field(ge=0.001, le=10)] = 0.025
    misses: Annotated[Integer, Field(ge=2, le=100)] = 4


class BfdConfig(Model):
    """Bidirectional forwarding detection with every peer that is not `off`: `tx` and `rx` are seconds."""

    tx: Annotated[Seconds, Field(ge=0.005, le=60)] = 0.05
    rx: Annotated[Seconds, Field(ge=0.005, le=60)] = 0.05
    multiplier: Annotated[Integer, Field(ge=1, le=255)] = 3
    heartbeat: HeartbeatConfig = HeartbeatConfig()


class GracefulRestartConfig(Model):
    """For how many seconds routers keep our routes while the session is down. Only with BFD to every peer."""

    time: Annotated[Integer, Field(ge=1, le=4095)]


class AnnouncerConfig(Model):
    """ExaBGP's side. A VIP whose `lease` is not renewed is withdrawn; `hold_time` is BGP's, whole seconds."""

    asn: Asn
    router_id: Address
    peers: Annotated[tuple[PeerConfig, ...], Field(min_length=1)]
    hold_time: Annotated[Integer, Field(ge=3, le=65535)] = 9
    lease: Annotated[Seconds, Field(le=60)] = 2.0
    user: str = "nobody"
    run_dir: str = "/run/fairhop/announcer"
    attributes: Attributes = Field(default_factory=dict)
    graceful_restart: GracefulRestartConfig | None = None
    bfd: BfdConfig | None = None
    read_back: ReadBackConfig | None = None
