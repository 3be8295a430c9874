"""fairhop.yaml: what an edge node is told, parsed once into frozen values.

`load` reports every error of the file at once. Units are seconds unless a name says otherwise.
"""

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from edge.config.announcer import AnnouncerConfig, PeerConfig
from edge.config.checks import Check, Checks, HttpCheck, LocalChecks, TcpCheck
from edge.config.protection import ProtectionConfig
from edge.config.rules import broken_rules
from edge.config.safety import SafetyConfig, Share
from edge.datapath.addresses import network_of, order
from edge.datapath.checks import SMALLEST_MTU
from edge.datapath.model import DEFAULT_TABLE_SIZE, Encap, HashMode, IpNetwork, Protocol, QuicLb, Vip
from edge.policy.panic import PanicRules
from edge.text import strictyaml
from edge.text.decode import Model, decode
from edge.text.scalars import (
    Boolean,
    EitherAddress,
    Integer,
    Name,
    Network,
    Network6,
    PortOrAny,
    Seconds,
    VipText,
)
from edge.text.strictyaml import ConfigError, Problem

__all__ = [
    "AnnouncerConfig", "Check", "Config", "HttpCheck", "PeerConfig", "PoolConfig", "ServiceConfig", "TcpCheck",
    "changes", "load",
]  # fmt: skip


class Hashing(Model):
    """Equal on every node of a fleet: the seed keeps outsiders from aiming at one backend."""

    seed: Annotated[Integer, Field(ge=0, le=0xFFFFFFFF)]
    table_size: Annotated[Integer, Field(ge=3, le=1_048_573)] = DEFAULT_TABLE_SIZE


class ForwarderConfig(Model):
    """Where the XDP program sits and what its outer headers carry. `mtu` bounds the outer packet, in bytes.

    `outer_source6` is what tunnels to IPv6 backends come from. `vlans`: VIP packets in 802.1Q frames are handled.
    """

    interfaces: Annotated[tuple[Name, ...], Field(min_length=1)]
    outer_source: Network
    outer_source6: Network6 | None = None
    vlans: Boolean = False
    pin: str = "/sys/fs/bpf/fairhop"
    mode: Literal["auto", "native", "generic"] = "auto"
    mtu: Annotated[Integer, Field(ge=SMALLEST_MTU, le=9216)] = 1500
    infrastructure: tuple[EitherAddress, ...] = ()


class DrainConfig(Model):
    """A drained node is de-preferred for `settle`, then withdrawn; quiet is <= `quiet_packets` in `quiet_for`."""

    settle: Annotated[float, Field(ge=0, le=3600)] = 1.0
    quiet_packets: Annotated[Integer, Field(ge=0)] = 10
    quiet_for: Seconds = 2.0


class BackendEntry(Model):
    """One member of a pool. `server_id` is what QUIC connection ids name it by, on every node of the fleet alike."""

    name: Name
    address: EitherAddress
    weight: Annotated[Integer, Field(ge=0, le=65535)] = 1
    server_id: Annotated[Integer, Field(ge=0)] | None = None


class PoolConfig(Model):
    """Backends that answer alike, how packets travel to them and how their health is known.

    `key` is the GRE key of every tunnel to them (RFC 2890). With fewer than `min_healthy` healthy backends the VIPs of
    the pool are de-preferred; `panic_below` stands for that of `safety`.
    """

    encap: Literal["gre", "ipip"]
    key: Annotated[Integer, Field(ge=0, le=0xFFFFFFFF)] | None = None
    check: Checks
    backends: Annotated[tuple[BackendEntry, ...], Field(min_length=1)]
    min_healthy: Annotated[Integer, Field(ge=1, le=65535)] = 1
    panic_below: Share | None = None

    @property
    def tunnel(self) -> Encap:
        """The encapsulation as the data path knows it."""
        return Encap[self.encap.upper()]

    def panic_below_of(self, safety: SafetyConfig) -> float:
        """With a smaller share of healthy backends it is used whole."""
        return safety.panic_below if self.panic_below is None else self.panic_below


class ServiceConfig(Model):
    """One port, or every port that no other service has, of one or more VIPs. A prefix is a VIP of many addresses.

    `hash` says what of a flow chooses its backend; `quic`: connection ids name it, where they can.
    """

    name: Name
    vips: Annotated[tuple[VipText, ...], Field(min_length=1)]
    protocol: Literal["tcp", "udp"]
    port: PortOrAny
    pool: Name
    hash: Literal["five-tuple", "client", "client-port"] = "five-tuple"
    quic: Boolean = False
    local_check: LocalChecks = ()

    @property
    def transport(self) -> Protocol:
        """The protocol as the data path knows it."""
        return Protocol[self.protocol.upper()]

    @property
    def hashing(self) -> HashMode:
        """The hash mode as the data path knows it."""
        return HashMode[self.hash.upper().replace("-", "_")]


class QuicConfig(Model):
    """How connection ids name backends, equal on every node and in every server (QUIC-LB, plaintext form)."""

    config_id: Annotated[Integer, Field(ge=0, le=6)] = 0
    server_id_length: Annotated[Integer, Field(ge=1, le=3)] = 2

    @property
    def for_data_path(self) -> QuicLb:
        """What the data path is told."""
        return QuicLb(self.config_id, self.server_id_length)


class Config(Model):
    """A whole fairhop.yaml."""

    version: Literal[1]
    node: Name
    hashing: Hashing
    forwarder: ForwarderConfig
    announcer: AnnouncerConfig
    pools: Annotated[dict[Name, PoolConfig], Field(min_length=1)]
    services: Annotated[tuple[ServiceConfig, ...], Field(min_length=1)]
    quic: QuicConfig | None = None
    protection: ProtectionConfig = ProtectionConfig()
    drain: DrainConfig = DrainConfig()
    safety: SafetyConfig = SafetyConfig()

    @cached_property  # both are asked for at each turn, and there may be a thousand
    def vips(self) -> frozenset[Vip]:
        """Every VIP of the node."""
        return frozenset(vip for service in self.services for vip in service.vips)

    @cached_property
    def prefixes(self) -> tuple[IpNetwork, ...]:
        """What is announced, one vip_prefix for each VIP: IPv4 first, ascending, a prefix before what it contains."""
        return tuple(sorted(map(network_of, self.vips), key=order))

    def panic_rules(self, pool: str) -> PanicRules:
        """How a pool leaves a panic."""
        return self.safety.returns.of(self.pools[pool].check)


def load(text: str, name: str) -> Config:
    """Parse fairhop.yaml. Raises `ConfigError` with every error, each with file, line and column."""
    document = strictyaml.load(text, name)
    problems = list(broken_rules(document))
    try:
        config = decode(document, Config)
    except ConfigError as error:
        raise ConfigError([*error.problems, *problems]) from None
    if problems:
        raise ConfigError(problems)
    return config


def changes(old: Config, new: Config, name: str) -> list[str]:
    """The top-level keys in which two configurations differ.

    Raises `ConfigError` when the file `name` changes what a running daemon cannot.
    """
    changed = [key for key in Config.model_fields if getattr(old, key) != getattr(new, key)]
    fixed = [key for key in changed if key in {"node", "hashing", "forwarder"}]
    ours, theirs = old.announcer, new.announcer
    fixed += [
        f"announcer.{k}" for k in ("asn", "router_id", "user", "run_dir") if getattr(ours, k) != getattr(theirs, k)
    ]
    if fixed:
        message = f"cannot change while the daemon runs: {', '.join(fixed)}; restart it, packets go on being forwarded"
        raise ConfigError([Problem(name, 1, 1, message)])
    return changed
