"""The rules of a fairhop.yaml about peers: what a session can be, and when graceful restart is safe (core: no I/O)."""

from collections.abc import Callable, Iterator
from typing import Any

from edge.config.findings import Finding, read_address
from edge.text.strictyaml import Document, Path


def _peers(document: Document) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path, peer in document.select("announcer", "peers", "*"):
        if isinstance(peer, dict):
            yield path, peer


def _families(document: Document) -> Iterator[Finding]:
    for path, peer in _peers(document):
        address, own = read_address(peer.get("address")), read_address(peer.get("local_address"))
        if address is None or own is None:
            continue
        if address.version != own.version:
            yield (*path, "local_address"), f"local_address {own} is not of the family of {address}: expected it to be"
        if address.version == 4 and "local_address4" in peer:
            yield (
                (*path, "local_address4"),
                f"local_address4 is for sessions over IPv6, and this one runs to {address}: expected none",
            )
        if address.version == 6 and address.is_link_local and "interface" not in peer:
            yield (*path, "address"), f"peer address {address} is link-local: expected the interface to reach it by"


def _gtsm(document: Document) -> Iterator[Finding]:
    for path, peer in _peers(document):
        if peer.get("passive") is True and peer.get("ttl_security") is True:
            message = "ttl_security is true for a passive peer: expected false, as ExaBGP's SYN-ACK has a TTL of 64"
            yield (*path, "ttl_security"), message


def _graceful_restart(document: Document) -> Iterator[Finding]:
    path: Path = ("announcer", "graceful_restart")
    for _, restart in document.select(*path):
        if restart is None:
            continue
        cost = "routers would keep a dead node's routes for all of its time"
        if not any(isinstance(bfd, dict) for _, bfd in document.select("announcer", "bfd")):
            yield path, f"graceful_restart without bfd: {cost}; expected announcer.bfd, or no graceful_restart"
        for peer_path, peer in _peers(document):
            if peer.get("bfd") == "off":
                yield (
                    (*peer_path, "bfd"),
                    f"peer '{peer.get('name')}' has no bfd, with graceful_restart: {cost}; expected bfd to every peer",
                )


RULES: tuple[Callable[[Document], Iterator[Finding]], ...] = (_families, _gtsm, _graceful_restart)
