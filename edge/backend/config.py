"""backend.yaml: what a backend is told, parsed once into frozen values (core: no I/O).

`load` reports every error of the file at once.
"""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from edge.config.findings import Finding, not_unicast, read_address, read_prefix, repeats, shown
from edge.datapath import abi
from edge.datapath.addresses import is_single, lengths
from edge.datapath.model import DecapState, Encap, IpNetwork
from edge.text import strictyaml
from edge.text.decode import Model, decode
from edge.text.scalars import EitherAddress, EitherNetwork, Integer, Name, Port, VipText
from edge.text.strictyaml import ConfigError, Document


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Addresses = Annotated[tuple[EitherAddress, ...], Field(min_length=1), BeforeValidator(_listed)]
_Mss = Annotated[Integer, Field(ge=216, le=65495)]


class EchoConfig(Model):
    """The echo service, TCP and UDP on one port: each line comes back behind the backend's name."""

    port: Port


class BackendConfig(Model):
    """A whole backend.yaml.

    Tunnels are taken on `interface` when sent to `address` (one, or a list for both families) from one of `edges`.
    `key`: the GRE key that every GRE tunnel must carry. `advmss` and `advmss6` are the largest TCP segments, in bytes,
    that clients of IPv4 and IPv6 VIPs may send: they go on the default routes, which the answers take.
    """

    version: Literal[1]
    name: Name
    interface: Annotated[str, Field(pattern=r"^[^\s/]{1,15}$")]
    address: Addresses
    vips: Annotated[tuple[VipText, ...], Field(min_length=1)]
    edges: Annotated[tuple[EitherNetwork, ...], Field(min_length=1)]
    encaps: Annotated[tuple[Literal["gre", "ipip"], ...], Field(min_length=1)] = ("gre", "ipip")
    key: Annotated[Integer, Field(ge=0, le=0xFFFFFFFF)] | None = None
    pin: str = "/sys/fs/bpf/fairhop-backend"
    mode: Literal["auto", "native", "generic"] = "auto"
    advmss: _Mss = 1420
    advmss6: _Mss = 1400
    infrastructure: tuple[EitherAddress, ...] = ()
    echo: EchoConfig | None = None

    @property
    def decap_state(self) -> DecapState:
        """What the decapsulator is told."""
        return DecapState(
            addresses=frozenset(self.address),
            vips=frozenset(self.vips),
            edges=self.edges,
            encaps=frozenset(Encap[name.upper()] for name in self.encaps),
            infrastructure=frozenset(self.infrastructure),
            key=self.key,
        )


def load(text: str, name: str) -> BackendConfig:
    """Parse backend.yaml. Raises `ConfigError` with every error, each with file, line and column."""
    document = strictyaml.load(text, name)
    problems = [document.problem(path, text) for rule in _RULES for path, text in rule(document)]
    try:
        config = decode(document, BackendConfig)
    except ConfigError as error:
        raise ConfigError([*error.problems, *problems]) from None
    if problems:
        raise ConfigError(problems)
    return config


def _vips(document: Document) -> Iterator[Finding]:
    own = {read_address(value) for key in (("address",), ("address", "*")) for _, value in document.select(*key)}
    others = {read_address(value) for _, value in document.select("infrastructure", "*")}
    seen: dict[IpNetwork, str | int] = {}
    for path, text in document.select("vips", "*"):
        vip, entry = read_prefix(text), path[-1]
        if vip is None:
            continue
        mine = [a for a in own if a is not None and a.version == vip.version and a in vip]
        known = [a for a in others if a is not None and a.version == vip.version and a in vip]
        refused = not_unicast(vip)
        if mine:
            how = "is" if is_single(vip) else f"contains {mine[0]},"
            yield path, f"vip {shown(vip)} {how} the backend's own address: expected an address of the service"
        elif known:
            how = "is" if is_single(vip) else f"contains {known[0]}, which is"
            yield path, f"vip {shown(vip)} {how} in infrastructure too: no client could be told from it"
        elif refused:
            yield path, f"vip {shown(vip)} meets {refused}: expected unicast host addresses only"
        if vip in seen:
            yield path, f"vip {shown(vip)} is given twice, first at entry {seen[vip]}"
        seen.setdefault(vip, entry)


def _addresses(document: Document) -> Iterator[Finding]:
    yield from repeats(document, "address", "*")
    for key in (("address",), ("address", "*")):
        for path, text in document.select(*key):
            address = read_address(text)
            if address is not None and not_unicast(ip_network(address)):
                yield path, f"address {address} is not a unicast host address"


def _key(document: Document) -> Iterator[Finding]:
    for path, key in document.select("key"):
        encaps = [encap for _, encap in document.select("encaps", "*")]
        if key is not None and encaps and "gre" not in encaps:
            yield path, f"key is {key}: expected none, because only gre carries one, and encaps has no gre"


def _limits(document: Document) -> Iterator[Finding]:
    vips = {vip for _, text in document.select("vips", "*") if (vip := read_prefix(text)) is not None}
    edges = [edge for _, text in document.select("edges", "*") if (edge := read_prefix(text)) is not None]
    prefixes = sum(not is_single(edge) for edge in edges)
    others = sum(1 for name in ("address", "infrastructure") for _ in document.select(name, "*"))
    limits = (
        ("vips", len(vips), abi.MAX_VIPS, "different VIPs"),
        ("vips", len(lengths(vips, 4)), abi.MAX_LENGTHS, "different lengths of IPv4 VIP prefixes"),
        ("vips", len(lengths(vips, 6)), abi.MAX_LENGTHS, "different lengths of IPv6 VIP prefixes"),
        ("edges", prefixes, abi.MAX_PREFIXES, "edge prefixes"),
        ("infrastructure", len(vips) + len(edges) + others, abi.MAX_ADDRESSES, "addresses in the file"),
    )
    for key, found, most, what in limits:
        if found > most:
            yield (key,), f"{found} {what}: expected at most {most}"


_RULES = (_vips, _addresses, _key, _limits)
