"""What a kit says to people: its header, what is left to do by hand, and the kernel's settings (core: no I/O)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from bgp.kits.model import KitInput, Session, is_private

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
    sessions = kit.sessions
    yield from _lacking([s for s in sessions if not s.has_md5], "no MD5 key: whoever sees the link can forge segments")
    yield from _lacking([s for s in sessions if not s.gtsm], "no GTSM (ttl_security): others may reach the session")
    silent = f"no BFD: a silent death is noticed after {kit.hold_time} s"
    yield from _lacking([s for s in sessions if s.bfd is None], silent)
    public = "its AS is not private (RFC 6996): expected one private AS for each site"
    yield from _lacking([s for s in sessions if not is_private(s.asn)], public)
    if options.site_scope and not options.aggregates:
        yield "VIPs carry NO_EXPORT and no aggregate is originated: other networks are told nothing of them."
    if not options.site_scope:
        yield "VIPs leave this network wherever your other policies let them: NO_EXPORT is off."
    if options.aggregates:
        yield "the ROA of an aggregate needs maxLength equal to its own length (RFC 9319)."
    yield "damping: have none on this router, or RFC 7196's values; it would outlast any drain."


def _lacking(sessions: Sequence[Session], what: str) -> Iterator[str]:
    if sessions:
        yield f"edge{'s' * (len(sessions) > 1)} {', '.join(session.edge for session in sessions)}: {what}."


def header(kit: KitInput, comment: str, kind: str, more: Iterable[str] = ()) -> str:
    """The comment at the head of a file; `more` are notes of this make alone."""
    edges = ", ".join(session.edge for session in kit.sessions)
    lines = [f"{kit.router} for the edges {edges}: rendered by `fairhop router-config --for {kind}`.", "By hand:"]
    lines += [f"- {note}" for note in (*notes(kit), *more)]
    lines += ["Kernel (`fairhop router-config --sysctls`):", *(f"  {line}" for line in sysctl_conf().splitlines())]
    return "".join(f"{comment} {line}".rstrip() + "\n" for line in lines)
