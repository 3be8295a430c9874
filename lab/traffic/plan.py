"""What a client is told to send, as frozen values with a JSON form. No I/O."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Requests:
    """Short requests: `rate` a second, each on a connection of its own, each failed after `timeout` seconds.

    `backend_field` is the reply's header field that names the backend.
    """

    url: str
    rate: float
    timeout: float = 2.0
    backend_field: str = "x-backend"

    @property
    def address(self) -> tuple[str, int]:
        """Where the requests go."""
        url = urlsplit(self.url)
        return str(url.hostname), url.port or 80

    @property
    def message(self) -> bytes:
        """The request as sent."""
        url = urlsplit(self.url)
        return f"GET {url.path or '/'} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n\r\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class Connections:
    """Long-lived connections to `target`: `count` of them, each with a ping every `interval` seconds.

    `target` is "address:port" or "[IPv6 address]:port". A connection without the answer to a ping for `timeout`
    seconds is broken; one that cannot be established is tried again after `retry` seconds.
    """

    target: str
    count: int
    interval: float = 1.0
    timeout: float = 5.0
    retry: float = 0.25

    @property
    def address(self) -> tuple[str, int]:
        """Where the connections go."""
        host, _, port = self.target.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if (":" in host) != bracketed:  # 2001:db8::1:7000 could mean two things
            return self.target, 0
        return host[1:-1] if bracketed else host, int(port) if port.isascii() and port.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The traffic of one client, from `source` and in its family; either kind may be absent.

    Checked when made: ValueError.
    """

    source: str
    requests: Requests | None = None
    connections: Connections | None = None

    def __post_init__(self) -> None:
        version = _check_address("source", self.source)
        if self.requests:
            _check_requests(self.requests)
            _check_address("requests.url", self.requests.address[0], version)
        if self.connections:
            _check_connections(self.connections)
            _check_address("connections.target", self.connections.address[0], version)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object; `plan_from_json` reads it back."""
        return asdict(self)


def _check_address(name: str, text: str, version: int | None = None) -> int:
    """The IP version of an address; ValueError when it is none, or not of `version`."""
    try:
        found = ip_address(text).version
    except ValueError as error:
        raise ValueError(f"{name}: {text!r} is no IP address") from error
    if version not in (None, found):
        raise ValueError(f"{name}: {text!r} is not of the source's family, IPv{version}")
    return found


def _check_requests(requests: Requests) -> None:
    if urlsplit(requests.url).scheme != "http":
        raise ValueError(f"requests.url: {requests.url!r} is no http URL")
    if not requests.url.isascii() or not requests.url.isprintable() or " " in requests.url:
        raise ValueError(f"requests.url: {requests.url!r} has characters that a URL cannot have")
    if not (0 < requests.rate <= 1000 and requests.timeout > 0):
        raise ValueError(
            f"requests: rate {requests.rate} is outside 0..1000 or timeout {requests.timeout} not positive"
        )


def _check_connections(connections: Connections) -> None:
    _, port = connections.address
    if not 0 < port <= 65535:
        raise ValueError(f"connections.target: {connections.target!r} is not address:port with a port in 1..65535")
    if not 0 < connections.count <= 20000:
        raise ValueError(f"connections.count: {connections.count} is outside 1..20000")
    for name in ("interval", "timeout", "retry"):
        if getattr(connections, name) <= 0:
            raise ValueError(f"connections.{name}: {getattr(connections, name)} is not positive")


_Part = TypeVar("_Part", Requests, Connections)


def plan_from_json(value: object) -> Plan:
    """Read a plan; ValueError names what is missing, unknown or out of bounds."""
    if not isinstance(value, dict) or not isinstance(value.get("source"), str):
        raise ValueError("plan: expected an object with the text 'source'")
    unknown = sorted(set(value) - {"source", "requests", "connections"})
    if unknown:
        raise ValueError(f"plan: unknown keys {unknown}")
    requests = _part(Requests, "requests", value.get("requests"))
    return Plan(value["source"], requests, _part(Connections, "connections", value.get("connections")))


def _part(kind: type[_Part], name: str, value: Mapping[str, Any] | None) -> _Part | None:
    if value is None:
        return None
    known = {f.name: f.type for f in fields(kind)}
    try:
        return kind(**{key: _typed(f"{name}.{key}", known[key], given) for key, given in value.items()})
    except KeyError as error:
        raise ValueError(f"{name}: unknown key {error}, expected some of {sorted(known)}") from error
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error


def _typed(name: str, kind: object, given: object) -> Any:
    wanted: dict[object, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float)}
    if isinstance(given, bool) or not isinstance(given, wanted[kind]):
        raise ValueError(f"{name}: {given!r} is no {kind.__name__ if isinstance(kind, type) else kind}")
    return given
