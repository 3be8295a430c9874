"""backend.yaml: what a backend is told, parsed once into frozen values (core: no I/O).

`load` reports every error of the file at once.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from edge import strictyaml
from edge.datapath.model import DecapState, Encap
from edge.decode import Address, Integer, Model, Name, Network, Port, decode
from edge.strictyaml import ConfigError, Document, Path, Problem


class EchoConfig(Model):
    """The echo service, TCP and UDP on one port: each line comes back behind the backend's name."""

    port: Port


class BackendConfig(Model):
    """A whole backend.yaml.

    Tunnels are taken on `interface` when sent to `address` from one of `edges`. `advmss` is the largest TCP segment,
    in bytes, that a client may send: it goes on the default route, which the answers take.
    """

    version: Literal[1]
    name: Name
    interface: Annotated[str, Field(pattern=r"^[^\s/]{1,15}$")]
    address: Address
    vips: Annotated[tuple[Address, ...], Field(min_length=1)]
    edges: Annotated[tuple[Network, ...], Field(min_length=1)]
    encaps: Annotated[tuple[Literal["gre", "ipip"], ...], Field(min_length=1)] = ("gre", "ipip")
    pin: str = "/sys/fs/bpf/fairhop-backend"
    mode: Literal["auto", "native", "generic"] = "auto"
    advmss: Annotated[Integer, Field(ge=216, le=65495)] = 1420
    infrastructure: tuple[Address, ...] = ()
    echo: EchoConfig | None = None

    @property
    def decap_state(self) -> DecapState:
        """What the decapsulator is told."""
        return DecapState(
            address=self.address,
            vips=frozenset(self.vips),
            edges=self.edges,
            encaps=frozenset(Encap[name.upper()] for name in self.encaps),
            infrastructure=frozenset(self.infrastructure),
        )


def load(text: str, name: str) -> BackendConfig:
    """Parse backend.yaml. Raises `ConfigError` with every error, each with file, line and column."""
    document = strictyaml.load(text, name)
    problems = list(_broken_rules(document))
    try:
        config = decode(document, BackendConfig)
    except ConfigError as error:
        raise ConfigError([*error.problems, *problems]) from None
    if problems:
        raise ConfigError(problems)
    return config


def _broken_rules(document: Document) -> Iterator[Problem]:
    own = {value for _, value in document.select("address")}
    others = {value for _, value in document.select("infrastructure", "*") if isinstance(value, str)}
    seen: dict[object, Path] = {}
    for path, vip in document.select("vips", "*"):
        if not isinstance(vip, str):
            continue
        if vip in own:
            yield document.problem(path, f"vip {vip} is the backend's own address: expected an address of the service")
        elif vip in others:
            yield document.problem(path, f"vip {vip} is in infrastructure too: no client could be told from it")
        if vip in seen:
            yield document.problem(path, f"vip {vip} is given twice, first at entry {seen[vip][-1]}")
        seen.setdefault(vip, path)
