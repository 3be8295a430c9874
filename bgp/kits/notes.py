"""What a kit says to people: its header, what is left to do by hand, and the kernel's settings (core: no I/O)."""

from collections.abc import Iterable, Iterator
from typing import Final

from bgp.kits.model import KitInput, is_private

SYSCTLS: Final = {
    "net.ipv4.fib_multipath_hash_policy": 1,
    "net.ipv6.fib_multipath_hash_policy": 1,
    "net.ipv4.conf.all.ignore_routes_with_linkdown": 1,
    "net.ipv6.conf.all.ignore_routes_with_linkdown": 1,
}
"""For a router that is a Linux kernel: flows by addresses and ports, and no path through a dead link."""


def sysctl_conf() -> str:
    """A file for /etc/sysctl.d."""
    return "".join(f"{name} = {value}\n" for name, value in SYSCTLS.items())


def notes(kit: KitInput) -> Iterator[str]:
    """What the kit cannot do by itself, one sentence each; the same for every make of router."""
    options = kit.options
    for one in kit.sessions:
        if one.has_md5 and one.md5 is None:
            yield f"edge {one.edge}: put its MD5 key in place of {one.placeholder}; until then its session stays down."
        if not one.has_md5:
            yield f"edge {one.edge}: no MD5 key: whoever sees the link can forge segments."
        if not one.gtsm:
            yield f"edge {one.edge}: no GTSM (ttl_security): who is further away can reach its session."
        if one.bfd is None:
            yield f"edge {one.edge}: no BFD: a silent death is noticed after {kit.hold_time} s."
        if not is_private(one.asn):
            yield f"edge {one.edge}: AS {one.asn} is not private (RFC 6996): expected one private AS for each site."
    if options.site_scope and not options.aggregates:
        yield "VIPs carry NO_EXPORT and no aggregate is originated: other networks are told nothing of them."
    if not options.site_scope:
        yield "VIPs leave this network wherever your other policies let them: NO_EXPORT is off."
    if options.aggregates:
        yield "the ROA of an aggregate needs maxLength equal to its own length (RFC 9319)."
    yield "damping: have none on this router, or RFC 7196's values; it would outlast any drain."


def header(kit: KitInput, comment: str, kind: str, more: Iterable[str] = ()) -> str:
    """The comment at the head of a file; `more` are notes of this make alone."""
    edges = ", ".join(session.edge for session in kit.sessions)
    lines = [f"{kit.router} for the edges {edges}: rendered by `fairhop router-config --for {kind}`.", "By hand:"]
    lines += [f"- {note}" for note in (*notes(kit), *more)]
    lines += ["Kernel (`fairhop router-config --sysctls`):", *(f"  {line}" for line in sysctl_conf().splitlines())]
    return "".join(f"{comment} {line}".rstrip() + "\n" for line in lines)
