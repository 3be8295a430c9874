"""The state of an interface that setting it down or changing its MTU destroys, and how it is put back."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from lab.faults.site import Site

_LOST = ("proto boot", "proto static")  # the kernel makes its own routes again, and a routing daemon its own


@dataclass(frozen=True, slots=True)
class State:
    """An interface: whether it is up, its MTU, its addresses and the routes through it that somebody wrote by hand.

    `addresses` are words for `ip address replace`, `routes` are (family, words for `ip route replace`).
    """

    device: str
    up: bool
    mtu: int
    keep: str
    addresses: tuple[str, ...]
    routes: tuple[tuple[str, str], ...]

    def words(self) -> tuple[str, ...]:
        """As words for a journal."""
        return (json.dumps(asdict(self)),)

    @classmethod
    def from_words(cls, words: tuple[str, ...]) -> "State":
        """The way back."""
        value = json.loads(words[0])
        routes = tuple((family, route) for family, route in value.pop("routes"))
        return cls(**{**value, "addresses": tuple(value["addresses"])}, routes=routes)


def state(site: Site, node: str, device: str) -> State:
    """The interface as it is now."""
    link = json.loads(site.must(node, "ip", "-j", "link", "show", "dev", device))[0]
    addresses = json.loads(site.must(node, "ip", "-j", "address", "show", "dev", device))[0]["addr_info"]
    routes = [
        (family, _route(line))
        for family in ("-4", "-6")
        for line in site.run(node, "ip", "-o", "-d", family, "route", "show", "table", "all").stdout.splitlines()
        if f" dev {device} " in f"{line} " and any(f" {lost} " in f"{line} " for lost in _LOST)
    ]
    return State(
        device,
        "UP" in link["flags"],
        link["mtu"],
        site.sysctl(node, _keep(device)),
        tuple(_address(each) for each in addresses if each.get("protocol") != "kernel_ll"),
        tuple(routes),
    )


def down(site: Site, node: str, device: str) -> None:
    """Set the interface down; its IPv6 addresses stay, as an administrator's would on most systems."""
    site.set_sysctl(node, _keep(device), "1")
    site.must(node, "ip", "link", "set", "dev", device, "down")


def restore(site: Site, node: str, before: State) -> None:
    """Bring the interface to what it was: what is there already is left alone."""
    now = state(site, node, before.device)
    if now.mtu != before.mtu:
        site.must(node, "ip", "link", "set", "dev", before.device, "mtu", str(before.mtu))
    if now.up != before.up:
        site.must(node, "ip", "link", "set", "dev", before.device, "up" if before.up else "down")
    if now.keep != before.keep:
        site.set_sysctl(node, _keep(before.device), before.keep)
    now = state(site, node, before.device)
    for address in _missing(before.addresses, now.addresses):
        site.must(node, "ip", "address", "replace", *address.split(), "dev", before.device)
    for family, route in before.routes:
        if (family, route) not in now.routes:
            site.must(node, "ip", family, "route", "replace", *route.split())


def _missing(before: Iterable[str], now: Iterable[str]) -> list[str]:
    there = set(now)
    return [each for each in before if each not in there]


def _keep(device: str) -> str:
    return f"net/ipv6/conf/{device}/keep_addr_on_down"


def _address(shown: dict[str, object]) -> str:
    words = [f"{shown['local']}/{shown['prefixlen']}"]
    if "address" in shown:
        words = [str(shown["local"]), "peer", f"{shown['address']}/{shown['prefixlen']}"]
    if "broadcast" in shown:
        words += ["broadcast", str(shown["broadcast"])]
    words += ["scope", str(shown["scope"])]
    return " ".join([*words, *(["nodad"] if shown["family"] == "inet6" else [])])


def _route(line: str) -> str:
    """The words of `ip -o -d route show` without those that are state and no part of the route."""
    words = [word for word in line.replace("\\", " ").split() if word not in ("linkdown", "dead", "offload", "trap")]
    return " ".join(words)
