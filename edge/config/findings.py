"""What the rules of a fairhop.yaml share: findings, and values read from a document of any shape (core: no I/O)."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from edge.datapath.addresses import is_single
from edge.datapath.model import IpAddress, IpNetwork
from edge.text.scalars import address_of, vip_of
from edge.text.strictyaml import Document, Path

Finding = tuple[Path, str]

_NOT_HOSTS = tuple(
    ip_network(prefix)
    for prefix in (
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
        "::/96", "::ffff:0:0/96", "fe80::/10", "ff00::/8",
    )
)  # fmt: skip


def repeats(document: Document, *pattern: str | int) -> Iterator[Finding]:
    """Values that an earlier one equals; addresses are compared as addresses."""
    first: dict[str, Path] = {}
    for path, value in document.select(*pattern):
        address = read_address(value)
        name = str(value if address is None else address)
        if name in first:
            line, _ = document.marks[first[name]]
            key = path[-1] if isinstance(path[-1], str) else path[-2]
            yield path, f"{key} '{value}' is given twice, first on line {line}"
        first.setdefault(name, path)


def read_address(value: Any) -> IpAddress | None:
    """The address that a value is; None when it is none."""
    try:
        return address_of(value)
    except ValueError:
        return None


def read_prefix(value: Any) -> IpNetwork | None:
    """The prefix that a value is, or that an address alone is; None when it is neither."""
    try:
        return ip_network(vip_of(value))
    except ValueError:
        return None


def addresses(document: Document, *pattern: str) -> dict[IpAddress, Path]:
    """Every address at a pattern, and where it stands first."""
    found: dict[IpAddress, Path] = {}
    for path, value in document.select(*pattern):
        address = read_address(value)
        if address is not None:
            found.setdefault(address, path)
    return found


def vips(document: Document) -> dict[IpNetwork, Path]:
    """Every VIP of the document as a prefix, and where it stands first."""
    found: dict[IpNetwork, Path] = {}
    for path, value in document.select("services", "*", "vips", "*"):
        vip = read_prefix(value)
        if vip is not None:
            found.setdefault(vip, path)
    return found


def not_unicast(prefix: IpNetwork) -> IpNetwork | None:
    """The range of addresses that no host can have which `prefix` meets; None when it meets none."""
    return next((each for each in _NOT_HOSTS if each.version == prefix.version and each.overlaps(prefix)), None)


def shown(prefix: IpNetwork) -> str:
    """A VIP as it is written: an address without its length."""
    return str(prefix.network_address) if is_single(prefix) else str(prefix)


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
