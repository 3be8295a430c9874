"""`python -I -m bgp.bmp`: the station as a process. Its configuration is a line on stdin; the end of stdin ends it."""

import asyncio
import contextlib
import os
import resource
import sys

from bgp.bmp import glass
from bgp.bmp.config import ReadBackConfig, from_line
from bgp.bmp.station import Station, live

MEMORY_MAX = 1 << 30
"""Bytes of address space: a station that needs more is broken."""


def main() -> None:
    """Run until stdin ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)
    config = from_line(_first_line())
    if not config.command:  # a command that is not ours may reserve more than it uses
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        asyncio.run(_serve(config))


def _first_line() -> bytes:
    """Byte by byte: what follows is for the event loop."""
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1) or sys.exit(0)
    return line


async def _serve(config: ReadBackConfig) -> None:
    station = Station(config, 1) if config.listen is not None else None
    tasks = [asyncio.create_task(live(1)), asyncio.create_task(_take_orders(station))]
    if station is not None:
        tasks.append(asyncio.create_task(station.run()))
    if config.command:
        tasks.append(asyncio.create_task(glass.watch(config, 1)))
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for task in done:
        if (error := task.exception()) and not isinstance(error, BrokenPipeError):
            sys.exit(f"station: {error}")


async def _take_orders(station: Station | None) -> None:
    """Each line names a router that must tell everything again; until the end of stdin."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if station is not None:
            station.ask_again(line.decode().strip())


if __name__ == "__main__":
    main()
