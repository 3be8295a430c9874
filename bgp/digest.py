"""The digest of a node's configuration that it carries in its announcements: a large community (RFC 8092), as data.

Its first number is the node's ASN, its second `FUNCTION`, its third the digest. Routers' policies may take it away, as
the kits' do: it is read in what a router received, before its policy.
"""

from collections.abc import Collection
from typing import Final

FUNCTION: Final = 18504
"""The two letters FH. Nothing else may be said under this number."""
LARGEST: Final = 0xFFFFFFFF


def community(asn: int, digest: int) -> str:
    """The community that carries a digest of 32 bits."""
    return f"{asn}:{FUNCTION}:{digest}"


def carried(asn: int, communities: Collection[str]) -> int | None:
    """The digest in the large communities of a route of AS `asn`; None where there is none, or more than one."""
    start = f"{asn}:{FUNCTION}:"
    found = [each for each in communities if each.startswith(start)]
    return int(found[0].removeprefix(start)) if len(found) == 1 else None


def is_ours(text: str) -> bool:
    """Whether a large community has our function number."""
    parts = text.split(":")
    return len(parts) == 3 and parts[1] == str(FUNCTION)
