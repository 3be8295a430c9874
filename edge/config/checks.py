"""How backends and local services are asked whether they are well: the checks of a fairhop.yaml (core: no I/O).

A pool has one check or a list of them: a backend is up when all are. `local_check` of a service asks this node itself.
"""

import re
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from edge.text.decode import Model
from edge.text.scalars import Boolean, EitherAddress, Integer, Port, Seconds

_LOOPBACK = IPv4Address("127.0.0.1")
_STATUS = re.compile(r"^([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?$")
_STATUS_EXPECTED = "expected a status from 100 to 599, a range such as 200-299, or a list of them"
_HEADER_NAME = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
_HEADER_VALUE = re.compile(r"^[\x21-\x7e]+(?:[\x20-\x7e\t]*[\x21-\x7e])?$")
_SENT_BY_US = {"host", "connection", "content-length", "transfer-encoding"}


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def _status(value: Any) -> tuple[tuple[int, int], ...]:
    return tuple(_status_range(each) for each in _listed(value))


def _status_range(value: Any) -> tuple[int, int]:
    if isinstance(value, tuple) and len(value) == 2:  # the default, or one that was read already
        return value
    match = None if isinstance(value, bool) else _STATUS.match(str(value))
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
    if low > high:
        raise ValueError(_STATUS_EXPECTED)
    return low, high


def _regex(text: str) -> str:
    try:
        re.compile(text.encode())
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error}") from None
    return text


def _hex(text: str) -> str:
    try:
        bytes.fromhex(text)
    except ValueError:
        raise ValueError("expected pairs of hexadecimal digits, such as '0a 1b'") from None
    return text


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict | tuple):
        raise ValueError("expected names and values, such as {Accept: text/html}")
    given = tuple(value.items()) if isinstance(value, dict) else value
    for name, text in given:
        if not _HEADER_NAME.match(name) or name.lower() in _SENT_BY_US:
            raise ValueError(f"expected a header that is not sent anyway: '{name}' cannot be given here")
        if not isinstance(text, str) or not _HEADER_VALUE.match(text):
            raise ValueError(f"expected printable text in '{name}'")
    return given


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise ValueError("expected a path that begins with /")
    return path


def _damping(value: Any) -> Any:
    return None if value is False else {} if value is True else value


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
HexText = Annotated[str, AfterValidator(_hex)]
Printable = Annotated[str, Field(pattern=r"^[!-~]+$")]
Statuses = Annotated[tuple[tuple[int, int], ...], PlainValidator(_status)]
_Count = Annotated[Integer, Field(ge=1, le=100)]
_Penalty = Annotated[Integer, Field(ge=500, le=20000)]


class DampingConfig(Model):
    """RFC 2439's figure of merit, 1000 for each time it goes down.

    From `suppress` on it stays down until the penalty has decayed to `reuse`, at most `longest` seconds.
    """

    half_life: Annotated[Seconds, Field(le=3600)] = 30.0
    suppress: _Penalty = 1500
    reuse: _Penalty = 750
    longest: Annotated[Seconds, Field(le=3600)] = 300.0


class BaseCheck(Model):
    """What every check has. Seconds; `jitter` is a share of the interval.

    Defaults find a service that hangs in 0.55 + 3 * 0.25 = 1.3 s at the latest. Where `timeout` or `fast_interval` is
    left out and `interval` is smaller, the interval holds.
    """

    interval: Seconds = 0.5
    fast_interval: Seconds = 0.25
    timeout: Seconds = 0.25
    rise: _Count = 2
    fall: _Count = 3
    jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    hold_down: Annotated[float, Field(ge=0, le=3600)] = 2.0
    damping: Annotated[DampingConfig | None, BeforeValidator(_damping)] = DampingConfig()


class TcpCheck(BaseCheck):
    """Up when the port accepts a connection within `timeout`. `tether`: one stays open, and its end is a failure."""

    type: Literal["tcp"]
    port: Port
    tether: Boolean = False


class _Web(BaseCheck):
    port: Port
    path: Annotated[str, Field(pattern=r"^/[!-~]*$")] = "/"
    method: Literal["GET", "HEAD", "OPTIONS", "POST"] = "GET"
    status: Statuses = ((200, 200),)
    host: Printable | None = None
    headers: Annotated[tuple[tuple[str, str], ...], PlainValidator(_headers)] = ()
    body: Annotated[str, Field(min_length=1)] | None = None
    body_regex: Annotated[str, Field(min_length=1), AfterValidator(_regex)] | None = None


class HttpCheck(_Web):
    """Up when `path` answers with a `status`, and a body if one is given, within `timeout`."""

    type: Literal["http"]


class HttpsCheck(_Web):
    """As http over TLS: the certificate is for `server_name` (or `host`, or the address) and by a known authority."""

    type: Literal["https"]
    server_name: Printable | None = None
    verify: Boolean = True
    ca_file: AbsolutePath | None = None
    min_days: Annotated[Integer, Field(ge=0, le=3650)] = 0
    client_cert: AbsolutePath | None = None
    client_key: AbsolutePath | None = None


class UdpCheck(BaseCheck):
    """Up when the answer to `send` contains `expect`, or anything answers if that is empty."""

    type: Literal["udp"]
    port: Port
    send: str = ""
    send_hex: HexText | None = None
    expect: str = ""
    expect_hex: HexText | None = None


class DnsCheck(BaseCheck):
    """Up when the server answers the question with `rcode` and, if given, a record whose data is `answer`."""

    type: Literal["dns"]
    port: Port = 53
    name: Annotated[str, Field(pattern=r"^[!-~]{1,253}$")]
    record: Literal["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = "A"
    rcode: Literal["NOERROR", "NXDOMAIN", "REFUSED", "SERVFAIL"] = "NOERROR"
    answer: Annotated[str, Field(min_length=1)] | None = None


class ExecCheck(BaseCheck):
    """Up when the program ends with status 0 within `timeout`. Started as it is written: there is no shell."""

    type: Literal["exec"]
    command: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]


class TunnelCheck(BaseCheck):
    """Up when a packet for `vip` in the pool's tunnel comes back from the backend, sent from `source` (inner).

    `source` is an address of this node that backends take for a client's: none of their `edges` or `infrastructure`.
    """

    type: Literal["tunnel"]
    probe: Literal["tcp", "icmp"] = "tcp"
    vip: EitherAddress
    port: Port | None = None
    source: EitherAddress


Check = Annotated[
    TcpCheck | HttpCheck | HttpsCheck | UdpCheck | DnsCheck | ExecCheck | TunnelCheck, Field(discriminator="type")
]
Checks = Annotated[tuple[Check, ...], Field(min_length=1, max_length=16), BeforeValidator(_listed)]


class ProcessCheck(BaseCheck):
    """Up while the process runs whose number is in `pidfile`, or the first one of a systemd `unit`."""

    type: Literal["process"]
    pidfile: AbsolutePath | None = None
    unit: Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.@-]+\.service$")] | None = None


class LocalTcpCheck(TcpCheck):
    """A tcp check of this node."""

    address: EitherAddress = _LOOPBACK


class LocalHttpCheck(HttpCheck):
    """An http check of this node."""

    address: EitherAddress = _LOOPBACK


class LocalHttpsCheck(HttpsCheck):
    """An https check of this node."""

    address: EitherAddress = _LOOPBACK


class LocalUdpCheck(UdpCheck):
    """A udp check of this node."""

    address: EitherAddress = _LOOPBACK


class LocalDnsCheck(DnsCheck):
    """A dns check of this node."""

    address: EitherAddress = _LOOPBACK


LocalCheck = Annotated[
    ProcessCheck | ExecCheck | LocalTcpCheck | LocalHttpCheck | LocalHttpsCheck | LocalUdpCheck | LocalDnsCheck,
    Field(discriminator="type"),
]
LocalChecks = Annotated[tuple[LocalCheck, ...], Field(max_length=16), BeforeValidator(_listed)]
AnyCheck = Check | LocalCheck
