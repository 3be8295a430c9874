"""fairhop.yaml: what an edge node is told, parsed once into frozen values.

`load` reports every error of the file at once. Units are seconds unless a name says otherwise.
"""

from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import Field

from edge import strictyaml
from edge.config_rules import broken_rules
from edge.datapath.model import DEFAULT_TABLE_SIZE, Encap, Protocol
from edge.decode import Address, Asn, Integer, Model, Name, Network, Port, Seconds, decode
from edge.strictyaml import ConfigError, Problem


class Hashing(Model):
    """Equal on every node of a fleet: the seed keeps outsiders from aiming at one backend."""

    seed: Annotated[Integer, Field(ge=0, le=0xFFFFFFFF)]
    table_size: Annotated[Integer, Field(ge=3, le=1_048_573)] = DEFAULT_TABLE_SIZE


class ForwarderConfig(Model):
    """Where the XDP program sits and what its outer headers carry. `mtu` bounds the outer packet, in bytes."""

    interfaces: Annotated[tuple[Name, ...], Field(min_length=1)]
    outer_source: Network
    pin: str = "/sys/fs/bpf/fairhop"
    mode: Literal["auto", "native", "generic"] = "auto"
    mtu: Annotated[Integer, Field(ge=576, le=9216)] = 1500
    infrastructure: tuple[Address, ...] = ()


class PeerConfig(Model):
    """A router that is told the VIPs."""

    name: Name
    address: Address
    local_address: Address
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


class DrainConfig(Model):
    """A drained node is de-preferred for `settle`, then withdrawn; quiet is <= `quiet_packets` in `quiet_for`."""

    settle: Annotated[float, Field(ge=0, le=3600)] = 1.0
    quiet_packets: Annotated[Integer, Field(ge=0)] = 10
    quiet_for: Seconds = 2.0


class _Check(Model):
    port: Port
    interval: Seconds = 1.0
    timeout: Seconds = 0.8
    rise: Annotated[Integer, Field(ge=1, le=100)] = 2
    fall: Annotated[Integer, Field(ge=1, le=100)] = 3


class TcpCheck(_Check):
    """Up when the port accepts a connection within `timeout`."""

    type: Literal["tcp"]


class HttpCheck(_Check):
    """Up when GET `path` answers `status` within `timeout`."""

    type: Literal["http"]
    path: Annotated[str, Field(pattern=r"^/[!-~]*$")] = "/"
    status: Annotated[Integer, Field(ge=100, le=599)] = 200
    host: Annotated[str, Field(pattern=r"^[!-~]+$")] | None = None


Check = Annotated[TcpCheck | HttpCheck, Field(discriminator="type")]


class BackendEntry(Model):
    """One member of a pool."""

    name: Name
    address: Address
    weight: Annotated[Integer, Field(ge=0, le=65535)] = 1


class PoolConfig(Model):
    """Backends that answer alike, how packets travel to them and how their health is known."""

    encap: Literal["gre", "ipip"]
    check: Check
    backends: Annotated[tuple[BackendEntry, ...], Field(min_length=1)]

    @property
    def tunnel(self) -> Encap:
        """The encapsulation as the data path knows it."""
        return Encap[self.encap.upper()]


class ServiceConfig(Model):
    """One port of one or more VIPs."""

    name: Name
    vips: Annotated[tuple[Address, ...], Field(min_length=1)]
    protocol: Literal["tcp", "udp"]
    port: Port
    pool: Name

    @property
    def transport(self) -> Protocol:
        """The protocol as the data path knows it."""
        return Protocol[self.protocol.upper()]


class Config(Model):
    """A whole fairhop.yaml."""

    version: Literal[1]
    node: Name
    hashing: Hashing
    forwarder: ForwarderConfig
    announcer: AnnouncerConfig
    pools: Annotated[dict[Name, PoolConfig], Field(min_length=1)]
    services: Annotated[tuple[ServiceConfig, ...], Field(min_length=1)]
    drain: DrainConfig = DrainConfig()

    @property
    def vips(self) -> frozenset[IPv4Address]:
        """Every VIP of the node."""
        return frozenset(vip for service in self.services for vip in service.vips)


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
    fixed = [key for key in changed if key in {"node", "hashing", "forwarder", "announcer"}]
    if old.vips != new.vips:
        fixed.append("services: the set of VIPs")
    if fixed:
        message = f"cannot change while the daemon runs: {', '.join(fixed)}; restart it, packets go on being forwarded"
        raise ConfigError([Problem(name, 1, 1, message)])
    return changed
