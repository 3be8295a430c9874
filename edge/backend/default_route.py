"""The MSS that a backend's answers advertise: `advmss` on every default route, all else of the route kept."""

import socket
from collections.abc import Iterator
from typing import Any

from edge.backend.host_error import HostError

_MAIN_TABLE = 254
_UNICAST = 1
_BY_ROUTER_ADVERTISEMENT = 9  # RTPROT_RA
_EVERYWHERE = {socket.AF_INET: "0.0.0.0/0", socket.AF_INET6: "::/0"}
_NAMES = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
_KEPT = {
    socket.AF_INET: ("priority", "gateway", "oif", "prefsrc"),
    socket.AF_INET6: ("priority", "gateway", "oif", "prefsrc", "pref"),
}


def clamp(netlink: Any, family: int, advmss: int) -> Iterator[str]:
    """Set the advertised MSS on the default routes of a family, and say what was changed. Raises `HostError`."""
    found = netlink.get_default_routes(family=family, table=_MAIN_TABLE)
    routes = [route for route in found if route["type"] == _UNICAST]
    name = _NAMES[socket.AddressFamily(family)]
    if not routes:
        raise HostError(f"there is no {name} default route: answers to clients have no way out, and no MSS limit")
    for route in routes:
        metrics = route.get_attr("RTA_METRICS")
        before = metrics.get_attr("RTAX_ADVMSS") if metrics else None
        if before == advmss:
            continue
        if route["proto"] == _BY_ROUTER_ADVERTISEMENT:
            raise HostError(
                f"the {name} default route{_way(route)} came by router advertisement, and the next one would take our "
                f"MSS limit away: `ip -6 route add default via ROUTER dev INTERFACE`, and accept_ra=0"
            )
        netlink.route("replace", **_same_route(family, route), metrics={**_metrics(metrics), "advmss": advmss})
        yield f"advmss {before or 'unset'} -> {advmss} on the default route{_way(route)}"


def _same_route(family: int, route: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"family": family, "dst": _EVERYWHERE[socket.AddressFamily(family)], "table": _MAIN_TABLE}
    given |= {name: route[name] for name in ("proto", "scope", "type", "tos")}
    for name in _KEPT[socket.AddressFamily(family)]:
        value = route.get_attr(f"RTA_{name.upper()}")
        if value is not None:
            given[name] = value
    ways = route.get_attr("RTA_MULTIPATH")
    if ways:
        given["multipath"] = [
            {"gateway": way.get_attr("RTA_GATEWAY"), "oif": way["oif"], "hops": way["hops"]} for way in ways
        ]
    return given


def _metrics(metrics: Any) -> dict[str, Any]:
    return {name.removeprefix("RTAX_").lower(): value for name, value in metrics["attrs"]} if metrics else {}


def _way(route: Any) -> str:
    gateway = route.get_attr("RTA_GATEWAY")
    return f" via {gateway}" if gateway else ""
