"""The kinds of traffic that a client can be told to send, as frozen values that are checked when made. No I/O.

Every kind has a `source`, the client's address that it is sent from and whose family it uses, and a target. Each raises
ValueError when made of values that cannot be used. All times are in seconds.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import ClassVar
from urllib.parse import urlsplit

MOST_FLOWS = 20_000  # of one stream
MOST_BYTES = 64 << 20  # of one transfer: what the lab's web server takes

Address = tuple[str, int]
Octets = bytes  # `Bulk` has a field of that name


@dataclass(frozen=True, slots=True)
class Web:
    """Base: what is asked for by HTTP, at a plain http `url` of the source's family."""

    source: str
    url: str

    def __post_init__(self) -> None:
        check_url(self.source, self.url)

    @property
    def address(self) -> Address:
        """Where it goes."""
        return address_of_url(self.url)


@dataclass(frozen=True, slots=True)
class Flows:
    """Base: `count` flows to `target`, "address:port" or "[IPv6 address]:port", each asking every `interval`."""

    source: str
    target: str
    count: int
    interval: float = 0.1
    timeout: float = 2.0

    def __post_init__(self) -> None:
        check_target(self.source, self.target)
        check_number("count", self.count, MOST_FLOWS)
        check_positive(interval=self.interval, timeout=self.timeout)

    @property
    def address(self) -> Address:
        """Where they go."""
        return address_of(self.target)


@dataclass(frozen=True, slots=True)
class Requests(Web):
    """Short requests: `rate` a second, each on a connection of its own, each failed after `timeout`.

    `backend_field` is the reply's header field that names the backend.
    """

    kind: ClassVar[str] = "requests"
    rate: float
    timeout: float = 2.0
    backend_field: str = "x-backend"

    def __post_init__(self) -> None:
        Web.__post_init__(self)
        if not 0 < self.rate <= 1000:
            raise ValueError(f"rate: {self.rate} is outside 0..1000")
        check_positive(timeout=self.timeout)

    @property
    def message(self) -> bytes:
        """The request as sent."""
        return head("GET", self.url)


@dataclass(frozen=True, slots=True)
class Connections(Flows):
    """Long-lived TCP connections to `target`: `count` of them, each with a ping every `interval`.

    A connection without the answer to a ping for `timeout` is
    broken; one that cannot be established is tried again after `retry`.
    """

    kind: ClassVar[str] = "connections"
    interval: float = 1.0
    timeout: float = 5.0
    retry: float = 0.25

    def __post_init__(self) -> None:
        Flows.__post_init__(self)
        check_positive(retry=self.retry)


@dataclass(frozen=True, slots=True)
class Bulk(Web):
    """Transfers of `bytes` octets of content, up or down, on `streams` connections at once, each transfer on its own.

    A stream begins a transfer every `interval`, or as soon as the one before is over when that took longer (0: always
    at once). Down: GET with a Range, so that any file of at least that size will do, such as the lab's /files/bytes.
    Up: POST, and the reply's body must be the number of octets received, as that of the lab's /upload is. A transfer
    that makes no progress for `timeout` has failed; one that makes none for a while is a gap.
    """

    kind: ClassVar[str] = "bulk"
    direction: str = "down"
    bytes: int = 1_000_000
    streams: int = 1
    interval: float = 1.0
    timeout: float = 5.0
    backend_field: str = "x-backend"

    def __post_init__(self) -> None:
        Web.__post_init__(self)
        if self.direction not in ("down", "up"):
            raise ValueError(f"direction: {self.direction!r} is neither 'down' nor 'up'")
        check_number("bytes", self.bytes, MOST_BYTES)
        check_number("streams", self.streams, 100)
        check_positive(timeout=self.timeout)
        if self.interval < 0:
            raise ValueError(f"interval: {self.interval} is negative")

    @property
    def message(self) -> Octets:
        """The head of the request as sent."""
        if self.direction == "up":
            return head("POST", self.url, f"Content-Length: {self.bytes}\r\nContent-Type: application/octet-stream\r\n")
        return head("GET", self.url, f"Range: bytes=0-{self.bytes - 1}\r\n")


@dataclass(frozen=True, slots=True)
class Datagrams(Flows):
    """UDP flows to an echo service: `count` of them, each from a port of its own, with a datagram every `interval`.

    A flow is established by its first answer. It is broken when no answer came for `timeout`, or when another backend
    answers than before, which a stream that is `roaming` allows. A flow that broke, or was not established within
    `timeout`, gives way to one from another port.
    """

    kind: ClassVar[str] = "datagrams"
    roaming: bool = False


@dataclass(frozen=True, slots=True)
class Quic(Flows):
    """UDP flows like QUIC's (`lab.traffic.quic_wire`): as `Datagrams`, and every `migrate` from a new source port.

    The connection id that the server chose stays, so the same backend must answer; `migrate` 0: the port stays too.
    """

    kind: ClassVar[str] = "quic"
    migrate: float = 5.0

    def __post_init__(self) -> None:
        Flows.__post_init__(self)
        if self.migrate < 0:
            raise ValueError(f"migrate: {self.migrate} is negative")


Stream = Requests | Connections | Bulk | Datagrams | Quic


def head(method: str, url: str, fields: str = "") -> bytes:
    """The head of an HTTP/1.1 request on a connection of its own; `fields` end with their line's end."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{fields}Connection: close\r\n\r\n".encode("ascii")


def address_of_url(url: str) -> Address:
    """The address and port of an http URL."""
    parts = urlsplit(url)
    return str(parts.hostname), parts.port or 80


def address_of(target: str) -> Address:
    """The two parts of "address:port"; the port is 0 where it is none."""
    host, _, port = target.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if (":" in host) != bracketed:  # 2001:db8::1:7000 could mean two things
        return target, 0
    return host[1:-1] if bracketed else host, int(port) if port.isascii() and port.isdigit() else 0


def check_url(source: str, url: str) -> None:
    """Raise ValueError unless `url` is plain http to an address of the family of `source`."""
    version = _version("source", source)
    if urlsplit(url).scheme != "http":
        raise ValueError(f"url: {url!r} is no http URL")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"url: {url!r} has characters that a URL cannot have")
    _version("url", address_of_url(url)[0], version)


def check_target(source: str, target: str) -> None:
    """Raise ValueError unless `target` is an address of the family of `source` and a port."""
    version = _version("source", source)
    host, port = address_of(target)
    if not 0 < port <= 65535:
        raise ValueError(f"target: {target!r} is not address:port with a port in 1..65535")
    _version("target", host, version)


def check_number(name: str, number: int, most: int) -> None:
    """Raise ValueError unless 1 <= `number` <= `most`."""
    if not 0 < number <= most:
        raise ValueError(f"{name}: {number} is outside 1..{most}")


def check_positive(**values: float) -> None:
    """Raise ValueError unless every value is above 0."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}: {value} is not positive")


def _version(name: str, text: str, version: int | None = None) -> int:
    """The IP version of an address; ValueError when it is none, or not of `version`."""
    try:
        found = ip_address(text).version
    except ValueError as error:
        raise ValueError(f"{name}: {text!r} is no IP address") from error
    if version not in (None, found):
        raise ValueError(f"{name}: {text!r} is not of the source's family, IPv{version}")
    return found
