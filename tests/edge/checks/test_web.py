"""tcp and http probes against servers that do well, badly, slowly or nothing, on loopback."""

import re
import socket
import struct
import time

import pytest

from edge.checks.http import BODY_MAX
from edge.checks.target import Outcome
from tests.edge.checks.asking import HERE, Asking, ask, saying, serving, target

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HTTP = "{{type: http, port: {port}, path: '/healthz?x=1', timeout: 5.0, interval: 10.0, host: www.example{more}}}"
TCP = "{{type: tcp, port: {port}, timeout: 5.0, interval: 10.0}}"


def asked(answer: bytes | None, check: str = HTTP, more: str = "", address: str = HERE) -> tuple[Outcome, bytes]:
    """The result of a probe of a server that sends `answer`, then keeps the connection; None: it says nothing."""
    received = bytearray()
    with serving(saying(answer, received), address) as port:
        outcome = ask(target(check.format(port=port, more=more), address))
    return outcome, bytes(received)


def test_a_good_answer_is_up_and_the_request_is_what_was_configured() -> None:
    outcome, request = asked(OK)
    assert (outcome.ok, outcome.detail) == (True, "HTTP 200")
    assert request.startswith(b"GET /healthz?x=1 HTTP/1.1\r\nHost: www.example\r\n")
    assert 0 < outcome.latency < 5.0


def test_method_and_headers_are_sent_as_written() -> None:
    outcome, request = asked(OK, more=", method: POST, headers: {Accept: text/plain, X-Check: a b}")
    assert outcome.ok
    assert request.startswith(b"POST /healthz?x=1 HTTP/1.1\r\n")
    assert b"\r\nAccept: text/plain\r\nX-Check: a b\r\n" in request
    assert b"\r\nContent-Length: 0\r\n" in request


def test_an_answer_in_pieces_after_a_100_is_an_answer() -> None:
    assert asked(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)[0].ok


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
    outcome, _ = asked(answer)
    assert not outcome.ok
    assert outcome.detail.startswith(detail)


@pytest.mark.parametrize(
    ("status", "ok"), [("200-299", True), ("[301, 204]", True), ("'204'", True), ("[200, 301-399]", False)]
)
def test_a_status_is_one_a_range_or_a_list(status: str, ok: bool) -> None:
    outcome, _ = asked(b"HTTP/1.1 204 No Content\r\n\r\n", more=f", status: {status}")
    assert outcome.ok is ok
    assert ok or outcome.detail == "HTTP 204, expected 200, 301-399"


@pytest.mark.parametrize(
    ("wanted", "ok", "detail"),
    [
        ("body: ready", True, "HTTP 200, body as expected"),
        ("body_regex: 'state=(up|ready)$'", True, "HTTP 200, body as expected"),
        ("body: broken", False, "HTTP 200, but the first 11 bytes of the body lack 'broken'"),
        ("body_regex: '^ready'", False, "HTTP 200, but the first 11 bytes do not match '^ready'"),
    ],
)
def test_a_body_has_what_is_wanted_or_not(wanted: str, ok: bool, detail: str) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nstate=ready"
    outcome, _ = asked(answer, more=f", {wanted}")
    assert (outcome.ok, outcome.detail) == (ok, detail)


def test_a_body_without_end_is_searched_no_further_than_its_limit() -> None:
    def flood(made: socket.socket) -> None:
        made.recv(4096)
        made.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            made.sendall(b"x" * 4096)

    with serving(flood) as port:
        outcome = ask(target(HTTP.format(port=port, more=", body: ready")))
    assert outcome.detail == f"HTTP 200, but the first {BODY_MAX} bytes of the body lack 'ready'"


def test_a_slow_loris_is_down_at_the_time_limit_however_often_it_says_a_byte() -> None:
    def drip(made: socket.socket) -> None:
        made.recv(4096)
        for byte in OK * 100:
            made.sendall(bytes((byte,)))
            time.sleep(0.02)

    with serving(drip) as port:
        outcome = ask(target(f"{{type: http, port: {port}, timeout: 0.2, interval: 1.0}}"))
    assert (outcome.ok, outcome.detail) == (False, "no answer within 0.2 s")
    assert 0.2 <= outcome.latency < 0.5


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 200"])
def test_a_server_that_does_not_answer_in_time_is_down(answer: bytes | None) -> None:
    outcome, _ = asked(answer, "{{type: http, port: {port}, timeout: 0.2, interval: 1.0{more}}}")
    assert (outcome.ok, outcome.detail) == (False, "no answer within 0.2 s")


def test_a_server_that_resets_is_down_with_the_kernels_words() -> None:
    def reset(made: socket.socket) -> None:
        made.recv(10)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(reset) as port:
        assert ask(target(HTTP.format(port=port, more=""))).detail == "connection reset by peer"


def test_a_port_that_listens_is_up_for_tcp() -> None:
    assert asked(None, TCP)[0].detail == "connected"


@pytest.mark.parametrize("check", [HTTP, TCP])
def test_a_port_that_nobody_has_is_refused(check: str) -> None:
    assert ask(target(check.format(port=1, more=""))).detail == "connection refused"


@pytest.mark.parametrize("host", [None, "www.example"])
def test_an_ipv6_backend_is_asked_like_any_other(host: str | None) -> None:
    check = "{{type: http, port: {port}, timeout: 5.0, interval: 10.0{more}}}"
    outcome, request = asked(OK, check, f", host: {host}" if host else "", "::1")
    assert (outcome.ok, outcome.detail) == (True, "HTTP 200")
    expected = re.escape(host) if host else r"\[::1\]:[0-9]+"
    assert re.search(rf"\r\nhost: {expected}\r\n", request.decode().lower())
    assert asked(None, TCP, address="::1")[0].detail == "connected"


TETHER = "{{type: tcp, port: {port}, tether: true, timeout: 1.0, interval: 60.0}}"


@pytest.mark.parametrize("ends", [b"", b"a greeting first"])
def test_the_end_of_a_tether_is_a_certain_failure_at_once(ends: bytes) -> None:
    held: list[socket.socket] = []

    def hold(made: socket.socket) -> None:
        made.sendall(ends)
        held.append(made.dup())
        made.recv(1)

    with serving(hold) as port, Asking() as asking:
        asking.engine.add(1, target(TETHER.format(port=port)))
        asking.until(lambda: len(asking.outcomes) == 1 and bool(held))
        for _ in range(5):
            asking.engine.turn()
        assert [(each.ok, each.certain) for each in asking.outcomes] == [(True, False)]
        held[0].shutdown(socket.SHUT_RDWR)
        held[0].close()
        began = time.monotonic()
        asking.until(lambda: len(asking.outcomes) == 2)
        assert time.monotonic() - began < 0.25
    last = asking.outcomes[-1]
    assert (last.ok, last.certain) == (False, True)
    assert last.detail == "the standing connection was closed by the server"
