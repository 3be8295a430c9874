"""A BGP UPDATE as a router passes it on in BMP: prefixes of IPv4 and IPv6 unicast, and the attributes we compare.

RFC 4271 section 4.3, RFC 4760 (MP_REACH_NLRI, MP_UNREACH_NLRI), RFC 6793 (AS numbers of 4 bytes), RFC 7911 (path ids),
RFC 1997 and 8092 (communities). Other attributes and families are stepped over. Input is hostile: see `cursor`.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from bgp.bmp.cursor import BmpError, Cursor
from bgp.route import Address, Prefix

Family = tuple[int, int]
"""(AFI, SAFI)."""
IPV4, IPV6 = (1, 1), (2, 1)
FAMILIES: Final[dict[Family, tuple[int, type[IPv4Network] | type[IPv6Network]]]] = {
    IPV4: (32, IPv4Network),
    IPV6: (128, IPv6Network),
}
Nlri = tuple[Prefix, int]
"""A prefix and its path id, 0 where there are none."""

ORIGIN, AS_PATH, NEXT_HOP, MED, COMMUNITIES, MP_REACH, MP_UNREACH, AS4_PATH, LARGE = 1, 2, 3, 4, 8, 14, 15, 17, 32
_MARKER = b"\xff" * 16
_UPDATE = 2
_EXTENDED_LENGTH = 0x10
_AS_SET, _AS_SEQUENCE = 1, 2


@dataclass(frozen=True, slots=True)
class Path:
    """The attributes of one path. `as_path` is flat; communities are sorted text, as `bgp.route.Route` has them."""

    as_path: tuple[int, ...] = ()
    next_hop: Address | None = None
    med: int | None = None
    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()
    origin: int | None = None

    @property
    def origin_as(self) -> int | None:
        """Who announced it first, None for a path that begins in the router's own AS."""
        return self.as_path[-1] if self.as_path else None


@dataclass(frozen=True, slots=True)
class Update:
    """What one UPDATE says; `end_of_rib` is the family that it ends (RFC 4724 section 2), if it does."""

    withdrawn: tuple[Nlri, ...] = ()
    announced: tuple[Nlri, ...] = ()
    path: Path = Path()
    end_of_rib: Family | None = None


@dataclass(slots=True)
class _Attributes:
    """What has been read so far."""

    as_path: tuple[int, ...] = ()
    as4_path: tuple[int, ...] = ()
    next_hop: Address | None = None
    med: int | None = None
    communities: tuple[str, ...] = ()
    large: tuple[str, ...] = ()
    origin: int | None = None
    announced: tuple[Nlri, ...] = ()
    withdrawn: tuple[Nlri, ...] = ()
    ended: Family | None = None
    count: int = 0


def parse_update(message: bytes, as_size: int, add_path: Set[Family] = frozenset()) -> Update:
    """Read one whole BGP message, with its header. `as_size` is 4, or 2 for the legacy form. Raises BmpError."""
    cursor = bgp_body(Cursor(message), _UPDATE)
    withdrawn = tuple(_nlri(cursor.part(cursor.number(2, "withdrawn"), "withdrawn routes"), IPV4, IPV4 in add_path))
    fields = cursor.part(cursor.number(2, "attributes"), "path attributes")
    found = _Attributes()
    while fields.left:
        _attribute(fields, found, as_size, add_path)
        found.count += 1
    announced = tuple(_nlri(cursor, IPV4, IPV4 in add_path))
    ended = found.ended if found.count == 1 and found.ended else None
    if not (withdrawn or announced or found.count):
        ended = IPV4
    as_path = found.as_path
    if as_size == 2 and len(found.as4_path) <= len(as_path):  # RFC 6793 section 4.2.3
        as_path = as_path[: len(as_path) - len(found.as4_path)] + found.as4_path
    path = Path(as_path, found.next_hop, found.med, found.communities, found.large, found.origin)
    return Update(withdrawn + found.withdrawn, announced + found.announced, path, ended)


def bgp_body(cursor: Cursor, kind: int) -> Cursor:
    """The body of the next BGP message, which must be of `kind` (RFC 4271 section 4.1). Raises BmpError."""
    marker, length, found = cursor.take(16, "marker"), cursor.number(2, "length"), cursor.number(1, "type")
    if marker != _MARKER or found != kind or length < 19:
        raise BmpError(f"a BGP message of type {found} and length {length}, expected type {kind} with a marker of ones")
    return cursor.part(length - 19, "BGP message")


def _attribute(fields: Cursor, found: _Attributes, as_size: int, add_path: Set[Family]) -> None:
    flags, kind = fields.number(1, "flags"), fields.number(1, "attribute")
    value = fields.part(fields.number(2 if flags & _EXTENDED_LENGTH else 1, "length"), f"attribute {kind}")
    if kind == AS_PATH:
        found.as_path = tuple(_as_path(value, as_size))
    elif kind == AS4_PATH:
        found.as4_path = tuple(_as_path(value, 4))
    elif kind == MP_REACH:
        _mp_reach(value, found, add_path)
    elif kind == MP_UNREACH:
        _mp_unreach(value, found, add_path)
    else:
        _simple(kind, value, found)


def _simple(kind: int, value: Cursor, found: _Attributes) -> None:
    if kind == ORIGIN:
        found.origin = value.number(1, "origin")
    elif kind == NEXT_HOP:
        found.next_hop = IPv4Address(value.take(4, "next_hop"))
    elif kind == MED:
        found.med = value.number(4, "med")
    elif kind == COMMUNITIES:
        pairs = sorted(set(_groups(value.numbers("H", "communities"), 2)))
        found.communities = tuple(f"{asn}:{number}" for asn, number in pairs)
    elif kind == LARGE:
        triples = sorted(set(_groups(value.numbers("I", "large communities"), 3)))
        found.large = tuple(":".join(map(str, triple)) for triple in triples)


def _groups(numbers: tuple[int, ...], size: int) -> Iterator[tuple[int, ...]]:
    if len(numbers) % size:
        raise BmpError(f"communities: {len(numbers)} numbers, expected groups of {size}")
    return (numbers[at : at + size] for at in range(0, len(numbers), size))


def _as_path(value: Cursor, as_size: int) -> Iterator[int]:
    while value.left:
        kind, count = value.number(1, "segment"), value.number(1, "segment")
        if kind not in (_AS_SET, _AS_SEQUENCE, 3, 4):  # 3 and 4 are of confederations (RFC 5065)
            raise BmpError(f"AS_PATH: a segment of type {kind}, expected 1 to 4")
        yield from value.part(count * as_size, "AS_PATH").numbers("I" if as_size == 4 else "H", "AS_PATH")


def _mp_reach(value: Cursor, found: _Attributes, add_path: Set[Family]) -> None:
    family = (value.number(2, "AFI"), value.number(1, "SAFI"))
    hop = value.take(value.number(1, "next hop"), "next hop")
    value.take(1, "reserved")
    if family not in FAMILIES:
        return
    if len(hop) not in (4, 16, 32):
        raise BmpError(f"MP_REACH_NLRI: a next hop of {len(hop)} bytes, expected 4, 16 or 32")
    found.next_hop = IPv4Address(hop) if len(hop) == 4 else IPv6Address(hop[:16])
    found.announced += tuple(_nlri(value, family, family in add_path))


def _mp_unreach(value: Cursor, found: _Attributes, add_path: Set[Family]) -> None:
    family = (value.number(2, "AFI"), value.number(1, "SAFI"))
    if not value.left:
        found.ended = family
    elif family in FAMILIES:
        found.withdrawn += tuple(_nlri(value, family, family in add_path))


def _nlri(cursor: Cursor, family: Family, with_ids: bool) -> Iterator[Nlri]:
    bits, network = FAMILIES[family]
    while cursor.left:
        path_id = cursor.number(4, "path id") if with_ids else 0
        length = cursor.number(1, "prefix length")
        if length > bits:
            raise BmpError(f"a prefix length of {length}, expected at most {bits}")
        packed = cursor.take((length + 7) // 8, "prefix").ljust(bits // 8, b"\0")
        # RFC 4271 section 4.3: the value of trailing bits is irrelevant.
        yield network((packed, length), strict=False), path_id
