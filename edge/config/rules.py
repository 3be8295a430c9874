"""What must hold between the values of a fairhop.yaml, beyond the shape of each (core: no I/O).

The rules read the document itself, not the decoded model, so that they find what they can even where a shape is wrong,
and a user sees all errors at once. Addresses are judged by `addresses`, what a node can hold by `limits`, its checks by
`check_rules`.
"""

from collections.abc import Iterator

from edge import maglev
from edge.config import addresses, check_rules, limits, peers, read_back
from edge.config.findings import Finding, is_number, repeats
from edge.config.safety import LeavePanicConfig
from edge.text.decode import nearest
from edge.text.strictyaml import Document, Problem


def broken_rules(document: Document) -> Iterator[Problem]:
    """Every rule that the document breaks, at its place."""
    own = (_table_size, _pools, _service_names, _peer_names, _leave_panic, read_back.rule)
    for rule in (*own, *addresses.RULES, *limits.RULES, *check_rules.RULES, *peers.RULES):
        for path, message in rule(document):
            yield document.problem(path, message)


def _table_size(document: Document) -> Iterator[Finding]:
    for path, size in document.select("hashing", "table_size"):
        if type(size) is int and size > 2 and not maglev.is_prime(size):
            yield path, f"table_size is {size}: expected a prime, such as {maglev.nearest_prime(size)}"


def _pools(document: Document) -> Iterator[Finding]:
    for path, pool in document.select("pools", "*"):
        yield from repeats(document, *path, "backends", "*", "name")
        yield from repeats(document, *path, "backends", "*", "address")
        yield from repeats(document, *path, "backends", "*", "server_id")
        entries = pool.get("backends") if isinstance(pool, dict) else None
        if isinstance(entries, list) and entries:
            weights = [entry.get("weight", 1) for entry in entries if isinstance(entry, dict)]
            if weights and not any(weights):
                yield (*path, "backends"), f"every backend of pool '{path[-1]}' has weight 0: expected one above 0"


def _service_names(document: Document) -> Iterator[Finding]:
    yield from repeats(document, "services", "*", "name")
    pools = [str(path[-1]) for path, _ in document.select("pools", "*")]
    for path, pool in document.select("services", "*", "pool"):
        if pool not in pools:
            yield path, f"pool '{pool}' is not defined{nearest(str(pool), pools)}"


def _peer_names(document: Document) -> Iterator[Finding]:
    yield from repeats(document, "announcer", "peers", "*", "name")
    yield from repeats(document, "announcer", "peers", "*", "address")


def _leave_panic(document: Document) -> Iterator[Finding]:
    for path, given in document.select("safety", "leave_panic"):
        if isinstance(given, dict):
            settle, longest = (given.get(key, getattr(LeavePanicConfig(), key)) for key in ("settle", "longest"))
            if is_number(settle) and is_number(longest) and longest < settle:
                yield path, f"leave_panic.longest is {longest}: expected at least leave_panic.settle, {settle}"
