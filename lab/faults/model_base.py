"""What all faults have in common, and how what they name is spelled."""

import ipaddress
import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from edge.text.decode import Model

Direction = Literal["in", "out", "both"]


def _end(text: str) -> str:
    if not re.fullmatch(r"[^\s:]+:[^\s:/]{1,15}", text):
        raise ValueError("expected NODE:INTERFACE, such as a-r1:eth3")
    return text


def _target(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][\w-]*", text):
        address_of(text)
    return text


def _prefix(text: str) -> str:
    if text:
        ipaddress.ip_network(text)
    return text


def _address(text: str) -> str:
    if text:
        ipaddress.ip_address(text)
    return text


def address_of(text: str) -> tuple[str, int]:
    """(address, port) of `192.0.2.1:80` or `[2001:db8::1]:80`. Raises ValueError that says what was expected."""
    found = re.fullmatch(r"\[([^\]]+)\]:(\d{1,5})|([^:\[\]]+):(\d{1,5})", text)
    try:
        if not found:
            raise ValueError
        address = ipaddress.ip_address(found[1] or found[3])
        port = int(found[2] or found[4])
        if not 0 < port < 65536:
            raise ValueError
    except ValueError:
        expected = "the name of a service, ADDRESS:PORT or [IPV6]:PORT"
        raise ValueError(f"expected {expected}") from None
    return str(address), port


End = Annotated[str, AfterValidator(_end)]
Target = Annotated[str, AfterValidator(_target)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Address = Annotated[str, AfterValidator(_address)]
Packets = Annotated[int, Field(ge=1, le=5_000_000)]


class Fault(Model):
    """Base of every kind. `one_shot`: it happens and is over, so that there is nothing to revert."""

    kind: ClassVar[str]
    one_shot: ClassVar[bool] = False
