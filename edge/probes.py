"""Probes: one act of asking a backend whether it is well, over TCP or HTTP.

A probe never raises for what a backend does or fails to do: that is its `Result`.
"""

import asyncio
import errno
import os
from ipaddress import IPv4Address

import aiohttp

from edge.config import Check, HttpCheck
from edge.health import Result


class Prober:
    """Makes probes that share one HTTP client. Use as an async context manager."""

    async def __aenter__(self) -> "Prober":
        # A new connection for each probe: a kept one would miss a listener that is gone.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._http = aiohttp.ClientSession(connector=connector, headers={"User-Agent": "fairhop-check"})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def probe(self, check: Check, address: IPv4Address) -> Result:
        """Run `check` once against `address`; takes at most `check.timeout` seconds."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            async with asyncio.timeout(check.timeout):
                ok, detail = await (
                    self._get(check, address) if isinstance(check, HttpCheck) else _connect(address, check.port)
                )
        except TimeoutError:
            ok, detail = False, f"no answer within {check.timeout:g} s"
        except (OSError, aiohttp.ClientError) as error:
            ok, detail = False, _reason(error)
        return Result(ok, detail, loop.time() - start)

    async def _get(self, check: HttpCheck, address: IPv4Address) -> tuple[bool, str]:
        url = f"http://{address}:{check.port}{check.path}"
        headers = {"Host": check.host} if check.host else {}
        async with self._http.get(url, headers=headers, allow_redirects=False) as answer:
            if answer.status == check.status:
                return True, f"HTTP {answer.status}"
            return False, f"HTTP {answer.status}, expected {check.status}"


async def _connect(address: IPv4Address, port: int) -> tuple[bool, str]:
    _, writer = await asyncio.open_connection(str(address), port)
    writer.close()
    await writer.wait_closed()
    return True, "connected"


def _reason(error: OSError | aiohttp.ClientError) -> str:
    """The kernel's words for a failed connection, without asyncio's and aiohttp's wrapping."""
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__
