"""The rules of a fairhop.yaml about addresses: whose packets are whose (core: no I/O).

A VIP that is also a machine, or holds one, would make packets loop or would take the machine's own traffic.
"""

from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_network
from typing import Any

from edge.config.findings import Finding, addresses, not_unicast, read_address, read_prefix, shown, vips
from edge.datapath.addresses import is_single
from edge.datapath.model import IpAddress, IpNetwork
from edge.text.strictyaml import Document

_BACKENDS = ("pools", "*", "backends", "*", "address")
_OWN = ("local_address", "local_address6", "local_address4")


def _backend_addresses(document: Document) -> Iterator[Finding]:
    served, own = vips(document), _own(document)
    sources = [prefix for _, prefix in _sources(document)]
    sends6 = any(prefix.version == 6 for prefix in sources)
    for path, text in document.select(*_BACKENDS):
        address = read_address(text)
        if address is None:
            continue
        held = _held(address, served)
        inside = next((prefix for prefix in sources if address in prefix), None)
        if held:
            yield path, f"backend address {address} is {held}: packets would loop"
        elif address in own:
            yield path, f"backend address {address} is this node's own: expected another machine's"
        elif not_unicast(ip_network(address)):
            yield path, f"backend address {address} is not a unicast host address"
        elif inside:
            yield path, f"backend address {address} is inside {inside}, the sources of this node's own tunnels"
        elif address.version == 6 and not sends6:
            yield path, f"backend address {address} is IPv6: expected forwarder.outer_source6 to send from"


def _vips(document: Document) -> Iterator[Finding]:
    served: dict[tuple[IpNetwork, str, str], Any] = {}
    for service_path, service in document.select("services", "*"):
        if not isinstance(service, dict):
            continue
        protocol, port, name = str(service.get("protocol")), str(service.get("port")), service.get("name")
        for path, text in document.select(*service_path, "vips", "*"):
            vip = read_prefix(text)
            if vip is None:
                continue
            refused = not_unicast(vip)
            if (vip, protocol, port) in served:
                earlier = served[vip, protocol, port]
                yield path, f"duplicate VIP {_endpoint(vip, port)}/{protocol}: service '{earlier}' has it already"
            elif refused and is_single(vip):
                yield path, f"VIP {shown(vip)} is not a unicast host address"
            elif refused:
                yield path, f"VIP {vip} meets {refused}: expected unicast host addresses only"
            served.setdefault((vip, protocol, port), name)


def _peers(document: Document) -> Iterator[Finding]:
    served, own = vips(document), _own(document)
    for path, text in document.select("announcer", "peers", "*", "address"):
        address = read_address(text)
        held = address and _held(address, served)
        if held:
            yield path, f"peer address {text} is {held}"
        elif address in own:
            yield path, f"peer address {text} is this node's own local_address"
    for key in _OWN:
        for path, text in document.select("announcer", "peers", "*", key):
            address = read_address(text)
            held = address and _held(address, served)
            if held:
                yield path, f"{key} {text} is {held}: expected an address of this node alone"
            elif key == "local_address6" and address and not_unicast(ip_network(address)):
                yield path, f"local_address6 {text} is not a global unicast address: routers could not use it"


def _next_hops6(document: Document) -> Iterator[Finding]:
    six = [shown(vip) for vip in vips(document) if vip.version == 6]
    for path, peer in document.select("announcer", "peers", "*") if six else ():
        over6 = isinstance(peer, dict) and getattr(read_address(peer.get("local_address")), "version", 4) == 6
        if isinstance(peer, dict) and peer.get("local_address6") is None and not over6:
            yield (
                path,
                f"peer '{peer.get('name')}' has no local_address6: expected the next hop of {six[0]}",
            )


def _infrastructure(document: Document) -> Iterator[Finding]:
    served = vips(document)
    for path, text in document.select("forwarder", "infrastructure", "*"):
        address = read_address(text)
        if address and (held := _held(address, served)):
            yield path, f"infrastructure address {address} is {held}: no client could be told from it"


def _outer_sources(document: Document) -> Iterator[Finding]:
    served = vips(document)
    for key, prefix in _sources(document):
        path = ("forwarder", key)
        met = next((vip for vip in served if vip.version == prefix.version and vip.overlaps(prefix)), None)
        refused = not_unicast(prefix)
        if met:
            yield path, f"{key} {prefix} overlaps VIP {shown(met)}: expected addresses of this node alone"
        elif refused:
            yield path, f"{key} {prefix} meets {refused}: expected unicast host addresses only"


RULES: tuple[Callable[[Document], Iterator[Finding]], ...] = (
    _backend_addresses, _vips, _peers, _next_hops6, _infrastructure, _outer_sources,
)  # fmt: skip


def _own(document: Document) -> set[IpAddress]:
    return {address for key in _OWN for address in addresses(document, "announcer", "peers", "*", key)}


def _sources(document: Document) -> Iterator[tuple[str, IpNetwork]]:
    for key, version in (("outer_source", 4), ("outer_source6", 6)):
        for _, text in document.select("forwarder", key):
            prefix = read_prefix(text)
            if prefix is not None and prefix.version == version:
                yield key, prefix


def _held(address: IpAddress, served: Iterable[IpNetwork]) -> str:
    """How an address meets the VIPs; empty when it does not."""
    mine = ip_network(address)
    if mine in served:
        return "also a VIP"
    return next((f"inside VIP {vip}" for vip in served if vip.version == mine.version and address in vip), "")


def _endpoint(vip: IpNetwork, port: Any) -> str:
    return f"[{shown(vip)}]:{port}" if vip.version == 6 else f"{shown(vip)}:{port}"
