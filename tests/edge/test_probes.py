"""Probes against servers that do well, badly, slowly or nothing, on loopback."""

import asyncio
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from edge.config import Check, HttpCheck, TcpCheck
from edge.datapath.model import IpAddress
from edge.health import Result
from edge.probes import probe

HERE = IPv4Address("127.0.0.1")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def asked(answer: bytes | None, make: Callable[[int], Check], here: IpAddress = HERE) -> tuple[Result, bytes]:
    """The result of a probe of a server that sends `answer`, then keeps the connection; None: it says nothing."""
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            received.extend(await reader.read(4096))
            if answer is not None:
                writer.write(answer)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def both() -> Result:
        async with await asyncio.start_server(serve, str(here), 0) as server:
            return await probe(make(server.sockets[0].getsockname()[1]), here)

    return asyncio.run(both()), bytes(received)


def http(port: int, timeout: float = 5.0) -> HttpCheck:
    return HttpCheck(type="http", port=port, path="/healthz?x=1", timeout=timeout, interval=10.0, host="www.example")


def tcp(port: int) -> TcpCheck:
    return TcpCheck(type="tcp", port=port, timeout=5.0, interval=10.0)


def test_a_good_answer_is_up_and_the_request_is_what_was_configured() -> None:
    result, request = asked(OK, http)
    assert (result.ok, result.detail) == (True, "HTTP 200")
    assert request.startswith(b"GET /healthz?x=1 HTTP/1.1\r\nHost: www.example\r\n")
    assert 0 < result.latency < 5.0


def test_an_answer_in_pieces_after_a_100_is_an_answer() -> None:
    assert asked(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, http)[0].ok


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "HTTP 503, expected 200"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "HTTP 301, expected 200"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP: "),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "not HTTP: "),
    ],
)
def test_anything_else_is_down_with_its_reason(answer: bytes | None, detail: str) -> None:
    result, _ = asked(answer, http)
    assert not result.ok
    assert result.detail.startswith(detail)


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 200"])
def test_a_server_that_does_not_answer_in_time_is_down(answer: bytes | None) -> None:
    result, _ = asked(answer, lambda port: http(port, timeout=0.2))
    assert (result.ok, result.detail) == (False, "no answer within 0.2 s")


def test_a_port_that_listens_is_up_for_tcp() -> None:
    assert asked(None, tcp)[0].detail == "connected"


@pytest.mark.parametrize("make", [http, tcp])
def test_a_port_that_nobody_has_is_refused(make: Callable[[int], Check]) -> None:
    assert asyncio.run(probe(make(1), HERE)).detail == "connection refused"


@pytest.mark.parametrize("host", [None, "www.example"])
def test_an_ipv6_backend_is_asked_like_any_other(host: str | None) -> None:
    result, request = asked(OK, lambda port: HttpCheck(type="http", port=port, host=host), IPv6Address("::1"))
    assert (result.ok, result.detail) == (True, "HTTP 200")
    expected = re.escape(host) if host else r"\[::1\]:[0-9]+"
    assert re.search(rf"\r\nhost: {expected}\r\n", request.decode().lower())
    assert asked(None, tcp, IPv6Address("::1"))[0].detail == "connected"
