"""The `links` of a topology file: brief (`["r1:eth1", "r2:eth1"]`) and long (`type: veth`) forms."""

import re
from collections.abc import Collection, Iterator
from typing import Any

from edge.decode import nearest
from edge.strictyaml import Document, Path, Problem
from lab.topology.keys import at, foreign_keys
from lab.topology.model import DEFAULT_MTU, Endpoint, Link

_KEYS = ("type", "endpoints", "mtu", "labels")
_ENDPOINT_KEYS = ("node", "interface", "mac")
_UNSUPPORTED = frozenset(("ipv4", "ipv6", "vars"))
_TYPES_ELSEWHERE = ("dummy", "host", "macvlan", "mgmt-net", "veth-stitched", "vxlan", "vxlan-stitched")
_MTU_RANGE = range(68, 65536)
_INTERFACE = re.compile(r"[^\s/:]{1,15}")
_MAC = re.compile(r"[0-9A-Fa-f][02468ACEace](?:[:-][0-9A-Fa-f]{2}){5}")


class LinkReader:
    """Reads all links of a document; `problems` holds what is wrong with them."""

    def __init__(self, document: Document, nodes: Collection[str]) -> None:
        self.problems: list[Problem] = []
        self._document = document
        self._nodes = sorted(nodes)
        self._used: dict[Endpoint, int] = {}

    def read(self) -> tuple[Link, ...]:
        """The links that could be read, in the file's order."""
        path: Path = ("topology", "links")
        section = at(self._document, ("topology",), dict).get("links", [])
        if not isinstance(section, list):
            self._report(path, f"topology.links is {section!r}: expected a list")
            return ()
        links = (self._link((*path, index), value) for index, value in enumerate(section))
        return tuple(link for link in links if link)

    def _link(self, path: Path, value: Any) -> Link | None:
        if not isinstance(value, dict):
            self._report(path, f"a link is {value!r}: expected a mapping with 'endpoints'")
            return None
        kind = value.get("type", "brief")
        if kind not in ("brief", "veth"):
            hint = "is containerlab's but not supported here" if kind in _TYPES_ELSEWHERE else "is unknown"
            self._report((*path, "type"), f"link type {kind!r} {hint}: expected veth, or no type for the brief form")
            return None
        for _, problem in foreign_keys(self._document, path, "a link", _KEYS, _UNSUPPORTED):
            self.problems.append(problem)
        ends = self._endpoints((*path, "endpoints"), value.get("endpoints"), long=kind == "veth")
        mtu = self._mtu((*path, "mtu"), value.get("mtu", DEFAULT_MTU))
        labels = {str(key): str(text) for key, text in at(self._document, (*path, "labels"), dict).items()}
        return Link(*ends, mtu=mtu, labels=labels) if ends else None

    def _endpoints(self, path: Path, value: Any, *, long: bool) -> tuple[Endpoint, Endpoint] | None:
        if not isinstance(value, list) or len(value) != 2:
            self._report(path, "a link needs exactly two endpoints")
            return None
        read = self._long if long else self._brief
        ends = [read((*path, index), entry) for index, entry in enumerate(value)]
        for index, end in enumerate(ends):
            if end:
                self._check_endpoint((*path, index), end)
        first, second = ends
        return (first, second) if first and second else None

    def _brief(self, path: Path, value: Any) -> Endpoint | None:
        if not isinstance(value, str) or value.count(":") != 1 or not all(value.split(":")):
            self._report(path, f'endpoint {value!r}: expected "node:interface"')
            return None
        node, _, interface = value.partition(":")
        return Endpoint(node, interface)

    def _long(self, path: Path, value: Any) -> Endpoint | None:
        wanted = isinstance(value, dict) and {key: value.get(key, "") for key in _ENDPOINT_KEYS}
        if not wanted or not all(isinstance(text, str) for text in wanted.values()):
            self._report(path, f"endpoint {value!r}: expected a mapping with node, interface and perhaps mac, all text")
            return None
        for _, problem in foreign_keys(self._document, path, "an endpoint", _ENDPOINT_KEYS, _UNSUPPORTED):
            self.problems.append(problem)
        return Endpoint(**wanted)

    def _check_endpoint(self, path: Path, end: Endpoint) -> None:
        for message in self._endpoint_faults(end):
            self._report(path, message)
        here = self._document.problem(path, "").line
        self._used.setdefault(Endpoint(end.node, end.interface), here)

    def _endpoint_faults(self, end: Endpoint) -> Iterator[str]:
        if end.node not in self._nodes:
            yield f"endpoint '{end}' names no node of this file{nearest(end.node, self._nodes)}"
        if not _INTERFACE.fullmatch(end.interface) or end.interface in (".", "..", "lo"):
            yield f"endpoint '{end}': '{end.interface}' is no interface name: expected 1 to 15 characters, such as eth1"
        if end.mac and not _MAC.fullmatch(end.mac):
            yield f"endpoint '{end}': '{end.mac}' is no unicast MAC address, such as aa:c1:ab:00:00:01"
        first = self._used.get(Endpoint(end.node, end.interface))
        if first is not None:
            yield f"endpoint '{end}' is used twice, first on line {first}"

    def _mtu(self, path: Path, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value not in _MTU_RANGE:
            self._report(path, f"mtu is {value!r}: expected a whole number from {_MTU_RANGE[0]} to {_MTU_RANGE[-1]}")
            return DEFAULT_MTU
        return value

    def _report(self, path: Path, message: str) -> None:
        self.problems.append(self._document.problem(path, message))
