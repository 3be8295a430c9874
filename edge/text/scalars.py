"""The scalar types of configuration files: numbers, names, addresses of both families (core: no I/O).

Addresses are written as text, because YAML would read some as numbers. A zone (`fe80::1%eth0`) is no part of one.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict, WrapValidator

from edge.datapath.model import IpNetwork

_ADDRESS = "an address in text form, such as 192.0.2.1"
_EITHER = "an IPv4 or IPv6 address, such as 192.0.2.1 or 2001:db8::1"
_NETWORK = "an IPv4 or IPv6 prefix, such as 192.0.2.0/24 or 2001:db8::/64"
_VIP = "an address or a prefix, such as 192.0.2.1 or 2001:db8::/64"
_ANY = "any"


def nearest_prefix(text: str) -> IpNetwork | None:
    """The prefix that `text` would be without its host bits; None when it is no prefix at all."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def address_of(text: Any) -> IPv4Address | IPv6Address:
    """Read an address of either family. Raises ValueError that says what was expected."""
    if not isinstance(text, str) or "%" in text:
        raise ValueError(f"expected {_EITHER}")
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError(f"expected {_EITHER}") from None


def prefix_of(text: Any, expected: str = _NETWORK) -> IpNetwork:
    """Read a prefix of either family, without host bits. Raises ValueError that says what was expected."""
    if not isinstance(text, str) or "%" in text:
        raise ValueError(f"expected {expected}")
    try:
        return ip_network(text)
    except ValueError:
        near = nearest_prefix(text)
        hint = f"no bits behind the prefix, as in {near}" if near is not None else expected
        raise ValueError(f"expected {hint}") from None


def vip_of(text: Any) -> IPv4Address | IPv6Address | IPv4Network | IPv6Network:
    """Read a VIP: an address, or a prefix; one of full length is its address. Raises ValueError."""
    prefix = prefix_of(text, _VIP)
    return prefix.network_address if prefix.prefixlen == prefix.max_prefixlen else prefix


def _text_only(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"expected {_ADDRESS}")
    return value


def _global6(value: Any) -> Any:
    if isinstance(value, str) and "%" in value:
        raise ValueError("expected an IPv6 address without a zone, such as 2001:db8::1")
    return _text_only(value)


def _port_or_any(value: Any, number: Callable[[Any], int]) -> int:
    return 0 if value == _ANY else number(value)


Address = Annotated[IPv4Address, BeforeValidator(_text_only)]
Address6 = Annotated[IPv6Address, BeforeValidator(_global6)]
EitherAddress = Annotated[IPv4Address | IPv6Address, BeforeValidator(address_of)]
Network = Annotated[IPv4Network, BeforeValidator(_text_only)]
Network6 = Annotated[IPv6Network, BeforeValidator(_global6)]
EitherNetwork = Annotated[IPv4Network | IPv6Network, BeforeValidator(prefix_of)]
VipText = Annotated[IPv4Address | IPv6Address | IPv4Network | IPv6Network, BeforeValidator(vip_of)]

Integer = Annotated[int, Strict()]
Boolean = Annotated[bool, Strict()]
Seconds = Annotated[float, Strict(), Field(gt=0, le=86400)]
Port = Annotated[int, Strict(), Field(ge=1, le=65535)]
PortOrAny = Annotated[int, Strict(), Field(ge=1, le=65535), WrapValidator(_port_or_any)]
"""A port, or `any`, which is 0 here as it is in the data path."""
Asn = Annotated[int, Strict(), Field(ge=1, le=4294967295)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,62})$")]
