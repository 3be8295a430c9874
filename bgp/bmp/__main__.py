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
    config = from_line(sys.stdin.buffer.readline())
    if not config.command:  # a command that is not ours may reserve more than it uses
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        asyncio.run(_serve(config))


async def _serve(config: ReadBackConfig) -> None:
    tasks = [asyncio.create_task(live(1)), asyncio.create_task(_end_of_stdin())]
    if config.listen is not None:
        tasks.append(asyncio.create_task(Station(config, 1).run()))
    if config.command:
        tasks.append(asyncio.create_task(glass.watch(config, 1)))
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for task in done:
        if (error := task.exception()) and not isinstance(error, BrokenPipeError):
            sys.exit(f"station: {error}")


async def _end_of_stdin() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ended.set)
    await ended.wait()


if __name__ == "__main__":
    main()
