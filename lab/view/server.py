"""Serves the live page: read-only, to those who ask for this host by its own name.

Nothing may be asked but `/` and `/state.json`, and only under the names that this server has: a page of another site
whose name was made to point here (DNS rebinding) asks under its own name and is refused.
"""

import ipaddress
import json
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_WAIT = 10.0  # seconds that a request for the next state waits at most
_PATIENCE = 20.0  # seconds for a client to send its request


class Board:
    """The newest state, and those who wait for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number = 0
        self._state: Mapping[str, Any] = {}

    def publish(self, state: Mapping[str, Any]) -> None:
        """Replace the state."""
        with self._changed:
            self._number += 1
            self._state = state
            self._changed.notify_all()

    def newer(self, number: int, timeout: float) -> dict[str, Any]:
        """The state as soon as its number is above `number`, after `timeout` seconds as it is. It has its `number`."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > number, timeout)
            return {"number": self._number, **self._state}


class Server(ThreadingHTTPServer):
    """Listens on `listen`:`port` (0: any free one). Raises OSError."""

    daemon_threads = True

    def __init__(self, listen: str, port: int, page: str, board: Board) -> None:
        if ":" in listen:
            self.address_family = socket.AF_INET6
        self.page, self.board = page.encode(), board
        self._serving = False
        super().__init__((listen, port), _Handler)
        self.allowed = names(listen, self.server_address[1])

    def start(self) -> None:
        """Serve in threads of its own until the server is closed."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        self._serving = True

    def server_close(self) -> None:
        """Stop serving, and listen no more."""
        if self._serving:
            self._serving = False
            self.shutdown()
        super().server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A page that was closed while it waited is no error; whatever else happens is told as the base class does."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def names(listen: str, port: int) -> frozenset[str]:
    """The Host headers that are answered. Listening on every address, any address (but no other name) is right."""
    hosts = {"localhost", f"[{listen}]" if ":" in listen else listen}
    if ipaddress.ip_address(listen).is_loopback:
        hosts |= {"127.0.0.1", "[::1]"}
    return frozenset({f"{host}:{port}" for host in hosts} | (hosts if port == 80 else set()))


def is_ours(host: str, listen: str, allowed: frozenset[str]) -> bool:
    """Whether a request's Host header names this server."""
    if host.lower() in allowed:
        return True
    if not ipaddress.ip_address(listen).is_unspecified:
        return False
    try:
        ipaddress.ip_address(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
    return True


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "fairhop-lab-view", ""
    timeout = _PATIENCE

    def do_GET(self) -> None:
        """Answer with the page or with the state."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not is_ours(hosts[0], str(self.server.server_address[0]), self.server.allowed):
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, b"this server has no such name\n", "text/plain")
            return
        target = urlsplit(self.path)
        if target.path == "/":
            self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
        elif target.path == "/state.json":
            after = parse_qs(target.query).get("after", ["-1"])[0]
            if not after.removeprefix("-").isdecimal() or len(after) > 12:
                self._answer(HTTPStatus.BAD_REQUEST, b"after: expected a number\n", "text/plain")
                return
            state = self.server.board.newer(int(after), _WAIT)
            self._answer(HTTPStatus.OK, json.dumps(state).encode(), "application/json")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"there is / and /state.json\n", "text/plain")

    do_HEAD: Callable[["_Handler"], None] = do_GET  # noqa: N815 - the name is http.server's

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a page that asks each second would fill the terminal."""
