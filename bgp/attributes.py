"""Path attributes as ExaBGP takes them: frozen values that are valid once they exist, and their one plain form."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

GRACEFUL_SHUTDOWN: Final = "65535:0"
"""RFC 8326. Only ever in numbers: ExaBGP takes the word `shutdown` in a command as an order to stop."""
BLACKHOLE: Final = "65535:666"
"""RFC 7999: drop what is sent to the prefix."""
NO_EXPORT: Final = "65535:65281"
"""RFC 1997: not beyond the neighbouring AS."""

PREPEND_MAX: Final = 16
"""Entries of an as_path, more than any network prepends."""
_MED_MAX: Final = 2**32 - 1
_NUMBER = "(0|[1-9][0-9]{0,9})"
_COMMUNITY = re.compile(f"{_NUMBER}:{_NUMBER}")
_LARGE = re.compile(f"{_NUMBER}:{_NUMBER}:{_NUMBER}")
_EXTENDED = re.compile(f"(target|origin|bandwidth):{_NUMBER}:{_NUMBER}")


class Said(Protocol):
    """What has the fields of `Attributes`: they themselves, or a route."""

    @property
    def med(self) -> int | None: ...  # noqa: D102
    @property
    def communities(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def as_path(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def large_communities(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def extended_communities(self) -> tuple[str, ...]: ...  # noqa: D102


class RouteError(ValueError):
    """A route that must not be announced; the text names the field, the value and what was expected."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is said of a prefix besides its next hop; each kind of community is kept sorted.

    `communities` are `asn:value` (RFC 1997), `large_communities` three 32-bit numbers (RFC 8092),
    `extended_communities` are `target:`, `origin:` (RFC 4360) or `bandwidth:` (bytes a second) with asn and value.
    `as_path` is sent as it is; empty is what ExaBGP makes of it: the node's ASN over eBGP.
    """

    med: int | None = None
    communities: tuple[str, ...] = ()
    as_path: tuple[int, ...] = ()
    large_communities: tuple[str, ...] = ()
    extended_communities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.med is not None and (type(self.med) is not int or not 0 <= self.med <= _MED_MAX):
            raise RouteError(f"med is {self.med!r}, expected a number from 0 to {_MED_MAX}")
        if len(self.as_path) > PREPEND_MAX or not all(
            type(asn) is int and 1 <= asn <= _MED_MAX for asn in self.as_path
        ):
            raise RouteError(f"as_path is {self.as_path!r}, expected at most {PREPEND_MAX} AS numbers")
        for key, valid, expected in _KINDS:
            values = getattr(self, key)
            for value in values:
                if not isinstance(value, str) or not valid(value):
                    raise RouteError(f"{key.removesuffix('ies')}y is {value!r}, expected {expected}")
            object.__setattr__(self, key, tuple(sorted(set(values), key=_order)))


def valid_community(text: str) -> bool:
    """Whether a text is `asn:value` (RFC 1997)."""
    return _COMMUNITY.fullmatch(text) is not None and max(_numbers(text)) <= 0xFFFF


def valid_large_community(text: str) -> bool:
    """Whether a text is `asn:value:value` (RFC 8092)."""
    return _LARGE.fullmatch(text) is not None and max(_numbers(text)) <= 0xFFFFFFFF


def valid_extended_community(text: str) -> bool:
    """Whether a text is one of the extended communities that are known to reach a router as they were meant."""
    if _EXTENDED.fullmatch(text) is None:
        return False
    asn, value = _numbers(text.partition(":")[2])
    return asn <= 0xFFFF and value <= 0xFFFFFFFF  # ExaBGP sends a longer asn as an IPv4 address


_KINDS: Final[tuple[tuple[str, Callable[[str], bool], str], ...]] = (
    ("communities", valid_community, "asn:value, each 0 to 65535"),
    ("large_communities", valid_large_community, "three numbers from 0 to 4294967295, such as 65110:1:2"),
    (
        "extended_communities",
        valid_extended_community,
        "target:, origin: or bandwidth: and asn:value, to 65535 and 4294967295",
    ),
)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(":")]


def _order(community: str) -> tuple[str, list[int]]:
    kind, _, rest = community.partition(":") if community[0].isalpha() else ("", "", community)
    return kind, _numbers(rest)


def attributes_to_plain(attributes: Said) -> dict[str, object]:
    """JSON-ready data; what is not set is absent, but for med and communities."""
    plain: dict[str, object] = {"med": attributes.med, "communities": list(attributes.communities)}
    for key in _OPTIONAL:
        if values := getattr(attributes, key):
            plain[key] = list(values)
    return plain


def attributes_from_plain(plain: Mapping[str, Any]) -> Attributes:
    """Undo `attributes_to_plain`. Raises RouteError for unknown keys and wrong types."""
    if not {"med", "communities"} <= set(plain) <= {"med", "communities", *_OPTIONAL}:
        raise RouteError(
            f"attributes are {sorted(plain)}, expected med, communities and perhaps {', '.join(_OPTIONAL)}"
        )
    lists = {key: value for key, value in plain.items() if key != "med"}
    for key, value in lists.items():
        if not isinstance(value, list):
            raise RouteError(f"{key} are {value!r}, expected a list")
    return Attributes(med=plain["med"], **{key: tuple(value) for key, value in lists.items()})


_OPTIONAL: Final = ("as_path", "large_communities", "extended_communities")
