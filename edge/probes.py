"""Probes: one act of asking a backend whether it is well, over TCP or HTTP.

A probe never raises for what a backend does or fails to do: that is its `Result`. HTTP is h11's; a new connection for
each probe, because a kept one would miss a listener that is gone.
"""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11

from edge.config import Check, HttpCheck
from edge.datapath.model import IpAddress
from edge.health import Result

_READ = 1 << 14
_HEADERS = 1 << 16  # bytes; an answer whose headers are longer is malformed


async def probe(check: Check, address: IpAddress) -> Result:
    """Run `check` once against `address`; takes at most `check.timeout` seconds."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    try:
        async with asyncio.timeout(check.timeout):
            if isinstance(check, HttpCheck):
                ok, detail = await _get(check, address)
            else:
                ok, detail = await _connect(check.port, address)
    except TimeoutError:
        ok, detail = False, f"no answer within {check.timeout:g} s"
    except OSError as error:
        ok, detail = False, _reason(error)
    except h11.RemoteProtocolError as error:
        ok, detail = False, f"not HTTP: {error}"
    return Result(ok, detail, loop.time() - start)


async def _connect(port: int, address: IpAddress) -> tuple[bool, str]:
    async with _connection(port, address):
        return True, "connected"


async def _get(check: HttpCheck, address: IpAddress) -> tuple[bool, str]:
    headers = [
        ("Host", check.host or _authority(address, check.port)),
        ("User-Agent", "fairhop"),
        ("Connection", "close"),
    ]
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEADERS)
    request = http.send(h11.Request(method="GET", target=check.path, headers=headers))
    end = http.send(h11.EndOfMessage())
    async with _connection(check.port, address) as (reader, writer):
        writer.write((request or b"") + (end or b""))
        while not isinstance(event := http.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(_READ))
    if event.status_code == check.status:
        return True, f"HTTP {event.status_code}"
    return False, f"HTTP {event.status_code}, expected {check.status}"


def _authority(address: IpAddress, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


@asynccontextmanager
async def _connection(
    port: int, address: IpAddress
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(str(address), port)
    try:
        yield reader, writer
    finally:
        # Not waited for: the answer is in, and a peer that never closes must not hold the probe.
        writer.transport.abort()


def _reason(error: OSError) -> str:
    """The kernel's words for a failed connection, without asyncio's wrapping."""
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__
