"""What a backend's kernel must be told so that it can answer for a VIP: addresses, ARP, reverse path, MSS.

`ensure` is idempotent, changes only what differs and says what it changed. It is synchronous; call it in a thread that
has no event loop (pyroute2's synchronous interface refuses to run inside one).
"""

import errno as codes
import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from edge.backend.config import BackendConfig
from edge.backend.default_route import clamp
from edge.backend.host_error import HostError
from edge.datapath.addresses import is_single, network_of
from edge.datapath.model import IpNetwork, Vip

__all__ = ["HostError", "ensure"]

_SYSCTL, _SYSCTL6 = Path("/proc/sys/net/ipv4/conf"), Path("/proc/sys/net/ipv6/conf")
_NONLOCAL = Path("/proc/sys/net/ipv6/ip_nonlocal_bind")
_LOCAL_TABLE, _LOCAL_TYPE, _HOST_SCOPE, _STATIC = 255, 2, 254, 4
_NO_DAD, _FOREVER = 0x02, 0xFFFFFFFF  # IFA_F_NODAD; INFINITY_LIFE_TIME
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
# A backend that answers ARP for the VIP takes its traffic away from the edge: answer only for addresses of the
# interface asked (arp_ignore 1, or the stricter 2), and never name the VIP in a request (arp_announce 2). IPv6 needs no
# such thing: neighbour discovery answers only for addresses of the interface asked.
_ARP = {"arp_ignore": (1, 2), "arp_announce": (2,)}
_STRICT_REVERSE_PATH = 1


def ensure(config: BackendConfig) -> list[str]:
    """Bring the host to what `config` needs and return one line for each change. Raises `HostError`."""
    families = {network_of(vip).version for vip in config.vips}
    done: list[str] = []
    _check_interface(config.interface)
    if 4 in families:
        _check_reverse_path(config.interface)
        done += _arp_settings()
    if 6 in families:
        _check_ipv6(config.interface)
    if any(isinstance(vip, IPv6Network) for vip in config.vips):
        done += _nonlocal_sources()
    try:
        with IPRoute() as netlink:
            done += _addresses(netlink, config)
            for version, advmss in ((4, config.advmss), (6, config.advmss6)):
                if version in families:
                    done += clamp(netlink, _FAMILIES[version], advmss)
    except NetlinkError as error:
        raise HostError(f"netlink refused: {error}. Needs CAP_NET_ADMIN in this network namespace") from error
    return done


def _check_interface(interface: str) -> None:
    if not (_SYSCTL / interface).exists():
        known = ", ".join(sorted(path.name for path in _SYSCTL.iterdir()))
        raise HostError(f"interface {interface} does not exist here; expected one of {known}")


def _check_reverse_path(interface: str) -> None:
    """Decapsulated packets come from any client on earth, so the strict reverse path check drops some of them."""
    used = max((_read(name, "rp_filter"), name) for name in ("all", interface))
    if used[0] == _STRICT_REVERSE_PATH:
        setting = f"net.ipv4.conf.{used[1]}.rp_filter"
        raise HostError(
            f"{setting} is 1 (strict): clients' packets may be dropped after decapsulation; expected 0 or 2 (loose). "
            f"`sysctl -w {setting}=2`, or `sysctls:` of the node in a containerlab file"
        )


def _check_ipv6(interface: str) -> None:
    if not _SYSCTL6.exists():
        raise HostError("this kernel has no IPv6, and a VIP is an IPv6 one")
    for name in ("lo", interface):
        path = _SYSCTL6 / name / "disable_ipv6"
        if not path.exists() or path.read_text().strip() != "0":
            setting = f"net.ipv6.conf.{name}.disable_ipv6"
            raise HostError(f"{setting} is 1, and a VIP is an IPv6 one; expected 0. `sysctl -w {setting}=0`")


def _arp_settings() -> Iterator[str]:
    for name, accepted in _ARP.items():
        # The kernel takes the larger of `all` and the interface's own value: `all` covers every interface.
        found = _read("all", name)
        if found not in accepted:
            _write(_SYSCTL / "all" / name, accepted[0])
            yield f"net.ipv4.conf.all.{name} {found} -> {accepted[0]}"


def _nonlocal_sources() -> Iterator[str]:
    """An address inside a prefix that is local by a route is no source for UDP answers without this, in IPv6 only."""
    if _NONLOCAL.read_text().strip() == "0":
        _write(_NONLOCAL, 1)
        yield "net.ipv6.ip_nonlocal_bind 0 -> 1"


def _addresses(netlink: Any, config: BackendConfig) -> Iterator[str]:
    loopback = netlink.link_lookup(ifname="lo")[0]
    texts = (m.get_attr("IFA_LOCAL") or m.get_attr("IFA_ADDRESS") for m in netlink.get_addr(family=socket.AF_UNSPEC))
    held = {ip_address(text) for text in texts}
    for address in config.address:
        if address not in held:
            raise HostError(
                f"address {address} is on no interface: tunnels sent to it would not reach this host. "
                f"`ip address add {address}/PREFIX dev {config.interface}`, or correct `address` in the file"
            )
    netlink.link("set", index=loopback, state="up")
    yield from _single_vips(netlink, loopback, [vip for vip in config.vips if vip not in held])
    yield from _vip_prefixes(netlink, loopback, [network_of(vip) for vip in config.vips])


def _single_vips(netlink: Any, loopback: int, missing: list[Vip]) -> Iterator[str]:
    for vip in missing:
        network = network_of(vip)
        if not is_single(network):
            continue
        extra: dict[str, Any] = {}
        if network.version == 6:
            # Deprecated from the start: the host's own connections must not leave with a VIP as their source.
            extra = {"flags": _NO_DAD, "preferred": 0, "valid": _FOREVER}
        length = network.prefixlen
        netlink.addr("replace", index=loopback, address=str(vip), prefixlen=length, family=_family(network), **extra)
        yield f"address {vip}/{length} on lo"


def _vip_prefixes(netlink: Any, loopback: int, vips: list[IpNetwork]) -> Iterator[str]:
    """Make a prefix local as a whole: an address for each of its 2^n would not do."""
    prefixes = [vip for vip in vips if not is_single(vip)]
    for family in {_family(prefix) for prefix in prefixes}:
        kind = IPv4Network if family == socket.AF_INET else IPv6Network
        held = {
            kind((route.get_attr("RTA_DST"), route["dst_len"]))
            for route in netlink.get_routes(family=family, table=_LOCAL_TABLE)
            if route["type"] == _LOCAL_TYPE and route["dst_len"]
        }
        for prefix in [each for each in prefixes if _family(each) == family and each not in held]:
            netlink.route(
                "replace",
                family=family,
                dst=str(prefix),
                oif=loopback,
                table=_LOCAL_TABLE,
                type=_LOCAL_TYPE,
                scope=_HOST_SCOPE,
                proto=_STATIC,
            )
            yield f"local route {prefix} on lo"


def _family(network: IpNetwork) -> int:
    return _FAMILIES[network.version]


def _read(interface: str, name: str) -> int:
    return int((_SYSCTL / interface / name).read_text())


def _write(path: Path, value: int) -> None:
    setting = ".".join(path.parts[3:])
    try:
        path.write_text(str(value))
    except OSError as error:
        fix = f"`sysctl -w {setting}={value}` on the host, or `sysctls:` of the node in a containerlab file"
        read_only = "; /proc/sys is read-only here" if error.errno == codes.EROFS else ""
        reason = os.strerror(error.errno or 0)
        raise HostError(f"cannot set {setting} to {value}: {reason}{read_only}. {fix}") from error
