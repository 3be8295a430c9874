"""The `links` of a topology file: brief (`["r1:eth1", "r2:eth1"]`) and long (`type: veth`) forms.

A brief link may end at `host:INTERFACE` or `macvlan:PARENT`. Source: containerlab 0.79.0, links/link*.go.
"""

import re
from collections.abc import Collection, Iterator
from ipaddress import ip_address
from typing import Any

from edge.text.decode import nearest
from edge.text.strictyaml import Document, Path, Problem
from lab.topology.keys import at, foreign_keys
from lab.topology.model import DEFAULT_MTU, HOST, Endpoint, Link, LinkKind

# containerlab hands addresses and variables to kinds that it configures; for these here it ignores them, and so do we.
_IGNORED = ("ipv4", "ipv6", "vars")
_COMMON = ("type", "mtu", "labels", *_IGNORED)
_ENDPOINT_KEYS = ("node", "interface", "mac")
_VXLAN_NUMBERS = {"vni": range(1, 1 << 24), "dst-port": range(1, 1 << 16), "src-port": range(1 << 16)}
_KEYS: dict[str, tuple[str, ...]] = {
    "brief": ("endpoints",),
    "veth": ("endpoints",),
    "host": ("endpoint", "host-interface"),
    "macvlan": ("endpoint", "host-interface", "mode"),
    "vxlan": ("endpoint", "remote", "parent-interface", "udp-port", *_VXLAN_NUMBERS),
    "dummy": ("endpoint",),
}
_TYPES_ELSEWHERE = ("mgmt-net", "veth-stitch", "veth-stitched", "vxlan-stitch", "vxlan-stitched")
_ENDS_ELSEWHERE = ("mgmt-net",)
_MACVLAN_MODES = ("bridge", "vepa", "private", "passthru", "source")
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
        if kind not in _KEYS:
            hint = "is containerlab's but not supported here" if kind in _TYPES_ELSEWHERE else "is unknown"
            words = "expected veth, host, macvlan, vxlan or dummy, or no type for the brief form"
            self._report((*path, "type"), f"link type {kind!r} {hint}: {words}")
            return None
        for _, problem in foreign_keys(self._document, path, "a link", (*_COMMON, *_KEYS[kind])):
            self.problems.append(problem)
        mtu = self._mtu((*path, "mtu"), value.get("mtu", DEFAULT_MTU))
        labels = {str(key): str(text) for key, text in at(self._document, (*path, "labels"), dict).items()}
        if kind in ("brief", "veth"):
            ends = self._endpoints((*path, "endpoints"), value.get("endpoints"), long=kind == "veth")
            return Link(*ends, mtu=mtu, labels=labels, kind=_kind_of(ends)) if ends else None
        end = self._end((*path, "endpoint"), value.get("endpoint"), long=True)
        far, options = self._far(path, kind, value)
        return Link(end, far, mtu, labels, kind, options) if end and far else None

    def _far(self, path: Path, kind: str, value: dict[str, Any]) -> tuple[Endpoint | None, dict[str, str]]:
        """What stands at the other end of a link of a long type with one endpoint, and the type's options."""
        if kind == "dummy":
            return Endpoint("dummy", ""), {}
        if kind == "vxlan":
            return self._vxlan(path, value)
        name = value.get("host-interface")
        if not isinstance(name, str) or not _is_interface(name):
            self._report((*path, "host-interface"), f"host-interface is {name!r}: expected an interface of the machine")
            return None, {}
        mode = value.get("mode", "bridge")
        if mode not in _MACVLAN_MODES:
            self._report((*path, "mode"), f"mode is {mode!r}: expected {', '.join(_MACVLAN_MODES)}")
        far = Endpoint(HOST if kind == "host" else kind, name)
        self._check_endpoint((*path, "host-interface"), far)
        return far, {"mode": str(mode)} if kind == "macvlan" else {}

    def _vxlan(self, path: Path, value: dict[str, Any]) -> tuple[Endpoint | None, dict[str, str]]:
        given = {**value, "dst-port": value.get("dst-port", value.get("udp-port", 14789))}
        for key, allowed in _VXLAN_NUMBERS.items():
            number = given.get(key, 0 if key == "src-port" else None)
            if not isinstance(number, int) or number not in allowed:
                words = f"expected a whole number from {allowed[0]} to {allowed[-1]}"
                self._report((*path, key), f"{key} is {number!r}: {words}")
        remote = given.get("remote")
        try:
            ip_address(str(remote))
        except ValueError:
            self._report((*path, "remote"), f"remote is {remote!r}: expected an IP address")
            return None, {}
        keys = (*_VXLAN_NUMBERS, "parent-interface")
        return Endpoint("vxlan", str(remote)), {key: str(given[key]) for key in keys if key in given}

    def _endpoints(self, path: Path, value: Any, *, long: bool) -> tuple[Endpoint, Endpoint] | None:
        """Both ends, one in a node first."""
        if not isinstance(value, list) or len(value) != 2:
            self._report(path, "a link needs exactly two endpoints")
            return None
        first, second = (self._end((*path, index), entry, long=long) for index, entry in enumerate(value))
        if not first or not second:
            return None
        if self._is_special(first) and self._is_special(second):
            self._report(path, f"a link from {first} to {second} touches no node of this file")
            return None
        return (second, first) if self._is_special(first) else (first, second)

    def _end(self, path: Path, value: Any, *, long: bool) -> Endpoint | None:
        end = self._long(path, value) if long else self._brief(path, value)
        if end:
            self._check_endpoint(path, end)
        return end

    def _is_special(self, end: Endpoint) -> bool:
        return end.node in (HOST, "macvlan") and not end.mac

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
        for _, problem in foreign_keys(self._document, path, "an endpoint", (*_ENDPOINT_KEYS, *_IGNORED)):
            self.problems.append(problem)
        return Endpoint(**wanted)

    def _check_endpoint(self, path: Path, end: Endpoint) -> None:
        for message in self._endpoint_faults(end):
            self._report(path, message)
        here = self._document.problem(path, "").line
        self._used.setdefault(Endpoint(end.node, end.interface), here)

    def _endpoint_faults(self, end: Endpoint) -> Iterator[str]:
        if end.node in _ENDS_ELSEWHERE:
            yield f"endpoint '{end}': {end.node} is containerlab's but not supported here: there is no such network"
        elif end.node not in self._nodes and not self._is_special(end):
            yield f"endpoint '{end}' names no node of this file{nearest(end.node, self._nodes)}"
        if not _is_interface(end.interface):
            yield f"endpoint '{end}': '{end.interface}' is no interface name: expected 1 to 15 characters, such as eth1"
        if end.mac and not _MAC.fullmatch(end.mac):
            yield f"endpoint '{end}': '{end.mac}' is no unicast MAC address, such as aa:c1:ab:00:00:01"
        first = self._used.get(Endpoint(end.node, end.interface))
        if first is not None and end.node != "macvlan":
            yield f"endpoint '{end}' is used twice, first on line {first}"

    def _mtu(self, path: Path, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value not in _MTU_RANGE:
            self._report(path, f"mtu is {value!r}: expected a whole number from {_MTU_RANGE[0]} to {_MTU_RANGE[-1]}")
            return DEFAULT_MTU
        return value

    def _report(self, path: Path, message: str) -> None:
        self.problems.append(self._document.problem(path, message))


def _kind_of(ends: tuple[Endpoint, Endpoint]) -> LinkKind:
    match ends[1].node:
        case "host":
            return "host"
        case "macvlan":
            return "macvlan"
    return "veth"


def _is_interface(name: str) -> bool:
    return bool(_INTERFACE.fullmatch(name)) and name not in (".", "..", "lo")
