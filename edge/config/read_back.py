"""How routers are asked what they took: the announcer's `read_back` in a fairhop.yaml (core). Times in seconds."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from bgp.bmp import config as bmp
from edge.config.findings import Finding
from edge.text.decode import Model, nearest
from edge.text.scalars import Asn, Boolean, EitherAddress, Name, Port, Seconds
from edge.text.strictyaml import Document


class ReadBackRouter(Model):
    """A router that is asked. Its BMP session comes from `address`; `peers` are its names in `announcer.peers`.

    `pre_only`: it tells what it received and not what its policy took.
    """

    name: Name
    address: EitherAddress
    peers: Annotated[tuple[Name, ...], Field(min_length=1)]
    pre_only: Boolean = False


class ReadBackConfig(Model):
    """Routers connect to `listen` and `port` by BMP (RFC 7854); or `command` is run every `interval` and tells in JSON.

    Without `routers`, each peer is one, at its own address. `origins` are other ASs that may announce our VIPs.
    """

    listen: EitherAddress | None = None
    port: Port = bmp.PORT
    command: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    interval: Seconds = 10.0
    limit: Seconds = 5.0
    grace: Annotated[float, Field(ge=0, le=3600)] = 5.0
    routers: tuple[ReadBackRouter, ...] = ()
    origins: tuple[Asn, ...] = ()


def rule(document: Document) -> Iterator[Finding]:
    """What must hold between a read-back's values."""
    names = [str(name) for _, name in document.select("announcer", "peers", "*", "name")]
    for path, asked in document.select("announcer", "read_back"):
        if isinstance(asked, dict) and bool(asked.get("listen")) == bool(asked.get("command")):
            yield path, "read_back has both listen and command, or neither: expected one of them"
    for path, name in document.select("announcer", "read_back", "routers", "*", "peers", "*"):
        if str(name) not in names:
            yield path, f"no peer is called '{name}'{nearest(str(name), names)}"
