"""What must hold between the values of a fairhop.yaml, beyond the shape of each.

The rules read the document itself, not the decoded model, so that they find what they can even where a shape is wrong,
and a user sees all errors at once.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from edge import maglev
from edge.decode import nearest
from edge.strictyaml import Document, Path, Problem

Finding = tuple[Path, str]

_NOT_HOSTS = tuple(
    IPv4Network(prefix) for prefix in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)


def broken_rules(document: Document) -> Iterator[Problem]:
    """Every rule that the document breaks, at its place."""
    for rule in (_table_size, _pools, _timeouts, _backend_addresses, _service_names, _vips, _peers):
        for path, message in rule(document):
            yield document.problem(path, message)


def _table_size(document: Document) -> Iterator[Finding]:
    for path, size in document.select("hashing", "table_size"):
        if type(size) is int and size > 2 and not maglev.is_prime(size):
            yield path, f"table_size is {size}: expected a prime, such as {maglev.nearest_prime(size)}"


def _pools(document: Document) -> Iterator[Finding]:
    for path, pool in document.select("pools", "*"):
        yield from _repeats(document, (*path, "backends", "*", "name"))
        yield from _repeats(document, (*path, "backends", "*", "address"))
        entries = pool.get("backends") if isinstance(pool, dict) else None
        if isinstance(entries, list) and entries:
            weights = [entry.get("weight", 1) for entry in entries if isinstance(entry, dict)]
            if weights and not any(weights):
                yield (*path, "backends"), f"every backend of pool '{path[-1]}' has weight 0: expected one above 0"


def _timeouts(document: Document) -> Iterator[Finding]:
    for path, check in document.select("pools", "*", "check"):
        if isinstance(check, dict):
            timeout, interval = check.get("timeout", 0), check.get("interval", 1.0)
            if _is_number(timeout) and _is_number(interval) and timeout > interval:
                yield (*path, "timeout"), f"timeout is {timeout}: expected at most the interval, {interval}"


def _backend_addresses(document: Document) -> Iterator[Finding]:
    vips = _addresses(document, "services", "*", "vips", "*")
    own = _addresses(document, "announcer", "peers", "*", "local_address")
    for path, text in document.select("pools", "*", "backends", "*", "address"):
        address = _address(text)
        if address is None:
            continue
        if address in vips:
            yield path, f"backend address {address} is also a VIP: packets would loop"
        elif address in own:
            yield path, f"backend address {address} is this node's own: expected another machine's"
        elif not _is_host(address):
            yield path, f"backend address {address} is not a unicast host address"


def _service_names(document: Document) -> Iterator[Finding]:
    yield from _repeats(document, ("services", "*", "name"))
    pools = [str(path[-1]) for path, _ in document.select("pools", "*")]
    for path, pool in document.select("services", "*", "pool"):
        if pool not in pools:
            yield path, f"pool '{pool}' is not defined{nearest(str(pool), pools)}"


def _vips(document: Document) -> Iterator[Finding]:
    served: dict[tuple[IPv4Address, Any, Any], Any] = {}
    for service_path, service in document.select("services", "*"):
        if not isinstance(service, dict):
            continue
        protocol, port, name = service.get("protocol"), service.get("port"), service.get("name")
        for path, text in document.select(*service_path, "vips", "*"):
            vip = _address(text)
            if vip is None:
                continue
            if (vip, protocol, port) in served:
                earlier = served[vip, protocol, port]
                yield path, f"duplicate VIP {vip}:{port}/{protocol}: service '{earlier}' has it already"
            elif not _is_host(vip):
                yield path, f"VIP {vip} is not a unicast host address"
            served.setdefault((vip, protocol, port), name)


def _peers(document: Document) -> Iterator[Finding]:
    yield from _repeats(document, ("announcer", "peers", "*", "name"))
    yield from _repeats(document, ("announcer", "peers", "*", "address"))
    vips = _addresses(document, "services", "*", "vips", "*")
    own = _addresses(document, "announcer", "peers", "*", "local_address")
    for path, text in document.select("announcer", "peers", "*", "address"):
        if _address(text) in vips:
            yield path, f"peer address {text} is also a VIP"
        elif _address(text) in own:
            yield path, f"peer address {text} is this node's own local_address"


def _repeats(document: Document, pattern: Path) -> Iterator[Finding]:
    first: dict[str, Path] = {}
    for path, value in document.select(*pattern):
        if str(value) in first:
            line, _ = document.marks[first[str(value)]]
            yield path, f"{path[-1]} '{value}' is given twice, first on line {line}"
        first.setdefault(str(value), path)


def _addresses(document: Document, *pattern: str) -> set[IPv4Address]:
    return {address for _, text in document.select(*pattern) if (address := _address(text)) is not None}


def _address(text: Any) -> IPv4Address | None:
    try:
        return IPv4Address(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _is_host(address: IPv4Address) -> bool:
    return not any(address in prefix for prefix in _NOT_HOSTS)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
