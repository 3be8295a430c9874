"""Reads the state of a node's interfaces from the kernel, for `lab.observe.check`."""

from collections.abc import Iterable
from typing import Any

from lab.netns import linux
from lab.observe.check import Finding, Interface, XdpMode, gather, judge
from lab.runtime import LabError, Runtime
from lab.topology.model import Topology

_XDP_MODES: dict[str, XdpMode] = {
    "xdp": "native",
    "xdpgeneric": "generic",
    "xdpoffload": "native",
    "xdpmulti": "native",
}


def check(runtime: Runtime, topology: Topology) -> list[Finding]:
    """What would make a measurement on the running lab lie. Works with every runtime."""

    def read(node: str, interfaces: Iterable[str]) -> dict[str, Interface]:
        wanted = set(interfaces)
        try:
            return linux.in_netns(runtime.netns(node), lambda: _interfaces(wanted))
        except FileNotFoundError as error:
            raise LabError(f"node {node} has no network namespace {error.filename}: is the lab up?") from None

    return judge(topology, gather(topology, read))


def _interfaces(wanted: set[str]) -> dict[str, Interface]:
    from pyroute2 import IPRoute  # noqa: PLC0415 - costs 0.2 s, and other verbs load this module too

    with IPRoute() as netlink:
        links = [link for link in netlink.get_links() if link.get("ifname") in wanted]
    return {
        link.get("ifname"): Interface(linux.offloads(link.get("ifname")), _xdp_mode(link), link.get("mtu"))
        for link in links
    }


def _xdp_mode(link: Any) -> XdpMode:
    attributes = link.get("xdp")
    mode = attributes.get_attr("IFLA_XDP_ATTACHED") if attributes else None
    return _XDP_MODES.get(str(mode), "")
