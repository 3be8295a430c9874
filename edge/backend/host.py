"""What a backend's kernel must be told so that it can answer for a VIP: addresses, ARP, reverse path, MSS.

`ensure` is idempotent, changes only what differs and says what it changed. It is synchronous; call it in a thread that
has no event loop (pyroute2's synchronous interface refuses to run inside one).
"""

import errno as codes
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from edge.backend.config import BackendConfig

_SYSCTL = Path("/proc/sys/net/ipv4/conf")
_MAIN_TABLE = 254
# A backend that answers ARP for the VIP takes its traffic away from the edge: answer only for addresses of the
# interface asked (arp_ignore 1, or the stricter 2), and never name the VIP in a request (arp_announce 2).
_ARP = {"arp_ignore": (1, 2), "arp_announce": (2,)}
_STRICT_REVERSE_PATH = 1


class HostError(Exception):
    """The host cannot serve a VIP as it is; the text says what to change."""


def ensure(config: BackendConfig) -> list[str]:
    """Bring the host to what `config` needs and return one line for each change. Raises `HostError`."""
    _check_reverse_path(config.interface)
    done = list(_arp_settings())
    try:
        with IPRoute() as netlink:
            done += _addresses(netlink, config)
            done += _clamp(netlink, config.advmss)
    except NetlinkError as error:
        raise HostError(f"netlink refused: {error}. Needs CAP_NET_ADMIN in this network namespace") from error
    return done


def _check_reverse_path(interface: str) -> None:
    """Decapsulated packets come from any client on earth, so the strict reverse path check drops some of them."""
    used = max((_read(name, "rp_filter"), name) for name in ("all", interface))
    if used[0] == _STRICT_REVERSE_PATH:
        setting = f"net.ipv4.conf.{used[1]}.rp_filter"
        raise HostError(
            f"{setting} is 1 (strict): clients' packets may be dropped after decapsulation; expected 0 or 2 (loose). "
            f"`sysctl -w {setting}=2`, or `sysctls:` of the node in a containerlab file"
        )


def _arp_settings() -> Iterator[str]:
    for name, accepted in _ARP.items():
        # The kernel takes the larger of `all` and the interface's own value: `all` covers every interface.
        found = _read("all", name)
        if found not in accepted:
            _write("all", name, accepted[0])
            yield f"net.ipv4.conf.all.{name} {found} -> {accepted[0]}"


def _addresses(netlink: Any, config: BackendConfig) -> Iterator[str]:
    loopback = netlink.link_lookup(ifname="lo")[0]
    held = {message.get_attr("IFA_LOCAL") for message in netlink.get_addr(family=socket.AF_INET)}
    for address in config.address:
        if str(address) not in held:
            raise HostError(
                f"address {address} is on no interface: tunnels sent to it would not reach this host. "
                f"`ip address add {address}/PREFIX dev {config.interface}`, or correct `address` in the file"
            )
    netlink.link("set", index=loopback, state="up")
    for vip in map(str, config.vips):
        if vip not in held:
            netlink.addr("replace", index=loopback, address=vip, prefixlen=32)
            yield f"address {vip}/32 on lo"


def _clamp(netlink: Any, advmss: int) -> Iterator[str]:
    """Set the advertised MSS on every IPv4 default route of the main table, keeping all else of it."""
    routes = list(netlink.get_default_routes(family=socket.AF_INET, table=_MAIN_TABLE))
    if not routes:
        raise HostError("there is no IPv4 default route: answers to clients have no way out, and no MSS limit")
    for route in routes:
        metrics = route.get_attr("RTA_METRICS")
        found = metrics.get_attr("RTAX_ADVMSS") if metrics else None
        if found == advmss:
            continue
        netlink.route("replace", **_same_route(route), metrics={**_metrics(metrics), "advmss": advmss})
        yield f"advmss {found or 'unset'} -> {advmss} on the default route{_way(route)}"


def _same_route(route: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"dst": "0.0.0.0/0", "table": _MAIN_TABLE}
    given |= {name: route[name] for name in ("proto", "scope", "type", "tos")}
    for name in ("priority", "gateway", "oif", "prefsrc"):
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


def _read(interface: str, name: str) -> int:
    try:
        return int((_SYSCTL / interface / name).read_text())
    except FileNotFoundError:
        known = ", ".join(sorted(path.name for path in _SYSCTL.iterdir()))
        raise HostError(f"interface {interface} does not exist here; expected one of {known}") from None


def _write(interface: str, name: str, value: int) -> None:
    setting = f"net.ipv4.conf.{interface}.{name}"
    try:
        (_SYSCTL / interface / name).write_text(str(value))
    except OSError as error:
        fix = f"`sysctl -w {setting}={value}` on the host, or `sysctls:` of the node in a containerlab file"
        read_only = "; /proc/sys is read-only here" if error.errno == codes.EROFS else ""
        reason = os.strerror(error.errno or 0)
        raise HostError(f"cannot set {setting} to {value}: {reason}{read_only}. {fix}") from error
