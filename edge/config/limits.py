"""The rules of a fairhop.yaml about what the data path can hold and carry (core: no I/O).

`edge.datapath.checks` refuses the same later, without places in the file.
"""

from collections.abc import Callable, Iterator
from typing import Any

from edge.config.findings import Finding, addresses, is_number, read_address, read_prefix, vips
from edge.datapath import abi
from edge.datapath.addresses import lengths
from edge.datapath.checks import SMALLEST_MTU, SMALLEST_MTU6
from edge.datapath.encode_backend import overhead_of
from edge.datapath.model import Backend, Encap, QuicLb
from edge.text.strictyaml import Document, Path


def _capacity(document: Document) -> Iterator[Finding]:
    def count(*pattern: str) -> int:
        return sum(1 for _ in document.select(*pattern))

    served = vips(document)
    backends = count("pools", "*", "backends", "*")
    machines = set(addresses(document, "forwarder", "infrastructure", "*"))
    machines |= set(addresses(document, "pools", "*", "backends", "*", "address"))
    for key in ("local_address", "local_address6", "local_address4"):
        machines |= set(addresses(document, "announcer", "peers", "*", key))
    ports = {port for _, port in document.select("protection", "reflection_ports", "*") if is_number(port)}
    limits: tuple[tuple[Path, int, int, str], ...] = (
        (("services",), len(served), abi.MAX_VIPS, "different VIPs"),
        (("services",), count("services", "*", "vips", "*"), abi.MAX_SERVICES, "services, each VIP counted"),
        (("pools",), count("pools", "*"), abi.MAX_POOLS, "pools"),
        (("pools",), backends, abi.MAX_BACKENDS, "backends"),
        (("forwarder", "interfaces"), count("forwarder", "interfaces", "*"), abi.MAX_INTERFACES, "interfaces"),
        (("protection", "reflection_ports"), len(ports), abi.MAX_REFLECTION_PORTS, "reflection ports"),
        ((), len(served) + len(machines), abi.MAX_ADDRESSES, "addresses of VIPs, machines and backends"),
        (("services",), len(lengths(served, 4)), abi.MAX_LENGTHS, "different lengths of IPv4 VIP prefixes"),
        (("services",), len(lengths(served, 6)), abi.MAX_LENGTHS, "different lengths of IPv6 VIP prefixes"),
    )
    for path, found, most, what in limits:
        if found > most:
            yield path, f"{found} {what}: expected at most {most}"


def _keys(document: Document) -> Iterator[Finding]:
    for path, pool in document.select("pools", "*"):
        if isinstance(pool, dict) and pool.get("key") is not None and pool.get("encap") == "ipip":
            yield (*path, "key"), f"key is {pool['key']}: expected none, because only gre carries one"


def _mtu(document: Document) -> Iterator[Finding]:
    """A packet of 1,280 bytes must fit every tunnel that IPv6 takes: nobody may cut it, and it cannot be told less."""
    for path, mtu in document.select("forwarder", "mtu"):
        needs = [(SMALLEST_MTU6 + overhead, name) for name, overhead in _overheads6(document)]
        most, pool = max(needs, default=(0, ""))
        if is_number(mtu) and SMALLEST_MTU <= mtu < most:
            yield path, f"mtu is {mtu}: expected at least {most} for IPv6 through the tunnels of pool '{pool}'"


def _overheads6(document: Document) -> Iterator[tuple[str, int]]:
    """The pools of IPv6 services, and the overhead of each tunnel to them."""
    pools = {path[-1]: pool for path, pool in document.select("pools", "*") if isinstance(pool, dict)}
    for path, service in document.select("services", "*"):
        found = [read_prefix(text) for _, text in document.select(*path, "vips", "*")]
        name = service.get("pool") if isinstance(service, dict) else None
        if isinstance(name, str) and name in pools and any(vip and vip.version == 6 for vip in found):
            pool = pools[name]
            for _, text in document.select("pools", name, "backends", "*", "address"):
                address = read_address(text)
                if address is not None:
                    encap = Encap.GRE if pool.get("encap") == "gre" else Encap.IPIP
                    key = 0 if pool.get("key") is not None else None
                    yield name, overhead_of(Backend(1, "", address, encap, key=key))


def _quic(document: Document) -> Iterator[Finding]:
    given = list(document.select("quic"))
    routed: dict[str, Any] = {}
    for path, service in document.select("services", "*"):
        if not isinstance(service, dict) or service.get("quic") is not True:
            continue
        routed.setdefault(str(service.get("pool")), service.get("name"))
        if service.get("protocol") == "tcp":
            yield (*path, "quic"), "quic is true: expected false, or protocol udp"
        if not given:
            yield (*path, "quic"), "quic is true: expected a block 'quic' in the file that says how ids name backends"
    for path, backend in document.select("pools", "*", "backends", "*"):
        if isinstance(backend, dict) and str(path[1]) in routed and backend.get("server_id") is None:
            yield (
                path,
                f"backend '{backend.get('name')}' has no server_id: service '{routed[str(path[1])]}' routes by it",
            )


def _server_ids(document: Document) -> Iterator[Finding]:
    octets = QuicLb().length
    for _, given in document.select("quic", "server_id_length"):
        octets = given if given in (1, 2, 3) else 3
    most = (1 << 8 * octets) - 1
    for path, number in document.select("pools", "*", "backends", "*", "server_id"):
        if is_number(number) and number > most:
            yield path, f"server_id is {number}: expected at most {most} in {octets} octet(s)"


RULES: tuple[Callable[[Document], Iterator[Finding]], ...] = (_capacity, _keys, _mtu, _quic, _server_ids)
