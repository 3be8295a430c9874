"""Taking over the process that an earlier daemon left, or having it end; for the daemon's event loop.

Apart from `bgp.process`, which small processes import that know no asyncio.
"""

import asyncio
import signal
import time
from pathlib import Path

from bgp.process import Process, load_identity


async def end(process: Process, number: signal.Signals, limit: float, name: str = "ExaBGP") -> str:
    """Have it end by a signal, after `limit` seconds by SIGKILL, even if it is stopped; what `reap` says."""
    process.signal(number)
    process.signal(signal.SIGCONT)
    deadline = time.monotonic() + limit
    while not process.ended():
        if time.monotonic() >= deadline:
            process.signal(signal.SIGKILL)
        await asyncio.sleep(0.01)
    return process.reap(name)


async def adopt_or_end(
    path: Path, config: str, number: signal.Signals, limit: float, name: str = "ExaBGP"
) -> Process | None:
    """The process whose identity is in `path`, if it runs with `config`; another one is ended, as by `end`."""
    identity = load_identity(path)
    process = Process.adopt(identity) if identity else None
    if process is None or identity is None or identity.config == config:
        return process
    await end(process, number, limit, name)
    return None
