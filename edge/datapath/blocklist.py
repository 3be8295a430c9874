"""The block list: a text file of prefixes as keys for the kernel's longest-prefix tries (core: no I/O).

A million prefixes must be read in seconds and held in few bytes, so nothing here keeps an object for each of them, and
`ipaddress`, which takes 6 us for a prefix, is asked only about what looks odd.
"""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network

from edge.datapath import abi
from edge.datapath.model import IpAddress, IpNetwork

_MOST_SHOWN = 20
_BATCH = 1 << 14
_OCTETS = {str(number): number for number in range(256)}  # neither "01" nor "+1"
_LENGTHS4 = {str(number): number for number in range(1, 33)}
_LENGTHS6 = {str(number): number for number in range(1, 129)}
_GROUPS = re.compile(r"(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*)?")
_EXPECTED = "expected a prefix such as 192.0.2.0/24 or 2001:db8::/32"


class BlockListError(ValueError):
    """A file that is no block list. `problems`: line numbers and texts, the first 20 and how many more there are."""

    def __init__(self, name: str, problems: Iterable[tuple[int, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{name}:{line}: {text}" for line, text in self.problems))


@dataclass(frozen=True)
class BlockList:
    """Prefixes as trie keys, ascending, each once: `abi.BLOCK_KEY4_FORMAT` and `abi.BLOCK_KEY6_FORMAT`.

    Prefixes are numbered from 0: IPv4 first, then IPv6. `dry_run`: their packets are only counted. `digest` is the
    SHA-256 of all of it, in hex.
    """

    keys4: bytes
    keys6: bytes
    dry_run: bool
    count4: int
    count6: int
    digest: str

    def prefix(self, index: int) -> IpNetwork:
        """The prefix with this number. Raises IndexError."""
        if not 0 <= index < self.count4 + self.count6:
            raise IndexError(f"block list index {index}: expected 0..{self.count4 + self.count6 - 1}")
        if index < self.count4:
            length, address = abi.BLOCK_KEY4_FORMAT.unpack_from(self.keys4, index * abi.BLOCK_KEY4_FORMAT.size)
            return IPv4Network((address, length))
        at = (index - self.count4) * abi.BLOCK_KEY6_FORMAT.size
        length, address = abi.BLOCK_KEY6_FORMAT.unpack_from(self.keys6, at)
        return IPv6Network((address, length))

    def index(self, address: IpAddress) -> int | None:
        """The number of the longest prefix that holds an address; None when none does. Searches the keys themselves."""
        four = address.version == 4
        keys, layout, first = (
            (self.keys4, abi.BLOCK_KEY4_FORMAT, 0) if four else (self.keys6, abi.BLOCK_KEY6_FORMAT, self.count4)
        )
        places = range(len(keys) // layout.size)

        def value(place: int) -> int:
            length, packed = layout.unpack_from(keys, place * layout.size)
            return int.from_bytes(packed, "big") << 8 | int(length)

        bits, number = address.max_prefixlen, int(address)
        for length in self._lengths4 if four else self._lengths6:
            wanted = (number >> (bits - length) << (bits - length)) << 8 | length
            place = bisect_left(places, wanted, key=value)
            if place < len(places) and value(place) == wanted:
                return first + place
        return None

    def lookup(self, address: IpAddress) -> bool | None:
        """Whether a source in the list is only counted; None when it is not in the list."""
        return None if self.index(address) is None else self.dry_run

    @cached_property
    def _lengths4(self) -> list[int]:
        return sorted(set(self.keys4[:: abi.BLOCK_KEY4_FORMAT.size]), reverse=True)  # the first octet of each key

    @cached_property
    def _lengths6(self) -> list[int]:
        return sorted(set(self.keys6[:: abi.BLOCK_KEY6_FORMAT.size]), reverse=True)


def parse(lines: Iterable[str], name: str, *, dry_run: bool = False) -> BlockList:
    """Read one prefix a line; `#` begins a comment, and an address alone is a prefix of full length.

    Raises `BlockListError` with the bad lines of the file `name`: no prefix, host bits, length 0.
    """
    found4, found6, problems = set[int](), set[int](), _Problems(name)
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        value = _read6(text) if ":" in text else _read4(text)
        if value < 0:
            problems.add(number, text)
        elif ":" in text:
            found6.add(value)
        else:
            found4.add(value)
    problems.refuse()
    return _packed(sorted(found4), sorted(found6), dry_run)


class _Problems:
    """The bad lines: the first few in words, all others only counted."""

    def __init__(self, name: str) -> None:
        self._name, self._count, self._last = name, 0, 0
        self._shown: list[tuple[int, str]] = []

    def add(self, number: int, text: str) -> None:
        self._count, self._last = self._count + 1, number
        if self._count <= _MOST_SHOWN:
            self._shown.append((number, f"'{text[:60]}': {_complaint(text)}"))

    def refuse(self) -> None:
        more = self._count - len(self._shown)
        if self._shown:
            rest = [(self._last, f"the last of {more} more bad line(s)")] if more else []
            raise BlockListError(self._name, [*self._shown, *rest])


def _complaint(text: str) -> str:
    try:
        near = ip_network(text.replace("%", "?"), strict=False)  # a zone is no part of an address
    except ValueError:
        return _EXPECTED
    if not near.prefixlen:
        return "expected a length of 1 or more, because this blocks every client"
    return f"expected {near}"


def _read4(text: str) -> int:
    """Address and length as one number; -1 for anything else than a plain prefix."""
    address, slash, bits = text.partition("/")
    try:
        length = _LENGTHS4[bits] if slash else 32
        one, two, three, four = address.split(".")
        number = _OCTETS[one] << 24 | _OCTETS[two] << 16 | _OCTETS[three] << 8 | _OCTETS[four]
    except (KeyError, ValueError):
        return -1
    return -1 if number & (0xFFFFFFFF >> length) else number << 8 | length


def _read6(text: str) -> int:
    address, slash, bits = text.partition("/")
    head, double, tail = address.partition("::")
    if not (_GROUPS.fullmatch(head) and _GROUPS.fullmatch(tail)) or (slash and bits not in _LENGTHS6):
        return -1
    length = _LENGTHS6[bits] if slash else 128
    left, right = head.split(":") if head else [], tail.split(":") if tail else []
    missing = 8 - len(left) - len(right)
    if missing < 1 if double else missing:
        return -1
    groups = [*left, *["0"] * missing, *right]
    number = int("".join([group.rjust(4, "0") for group in groups]), 16)
    return -1 if number & ((1 << (128 - length)) - 1) else number << 8 | length


def _packed(values4: list[int], values6: list[int], dry_run: bool) -> BlockList:
    pack4, pack6 = abi.BLOCK_KEY4_FORMAT.pack, abi.BLOCK_KEY6_FORMAT.pack
    keys4 = _joined(pack4(value & 0xFF, (value >> 8).to_bytes(4, "big")) for value in values4)
    keys6 = _joined(pack6(value & 0xFF, (value >> 8).to_bytes(16, "big")) for value in values6)
    digest = hashlib.sha256(b"%d %d %d\n" % (dry_run, len(values4), len(values6)))
    digest.update(keys4)
    digest.update(keys6)
    return BlockList(keys4, keys6, dry_run, len(values4), len(values6), digest.hexdigest())


def _joined(keys: Iterator[bytes]) -> bytes:
    whole = bytearray()
    for key in keys:
        whole += key
    return bytes(whole)
