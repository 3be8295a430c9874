"""Runs every backend's check at its interval. A check that hangs delays no other; the first round is spread out."""

import asyncio
from collections.abc import Callable

import mmh3

from edge.config import Check, Config
from edge.datapath.model import IpAddress
from edge.health import Result
from edge.probes import probe

Report = Callable[[str, str, Result], None]
_Target = tuple[str, str, IpAddress, Check]


class Checking:
    """One task a (pool, backend); `report(pool, backend, result)` is called in the event loop."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._tasks: dict[_Target, asyncio.Task[None]] = {}

    def follow(self, config: Config) -> None:
        """Check exactly what `config` names from now on; targets that stay keep their rhythm."""
        wanted = {
            (name, backend.name, backend.address, pool.check)
            for name, pool in config.pools.items()
            for backend in pool.backends
        }
        for target in set(self._tasks) - wanted:
            self._tasks.pop(target).cancel()
        for target in wanted - set(self._tasks):
            self._tasks[target] = asyncio.create_task(self._run(*target), name=f"check {target[0]}/{target[1]}")

    async def stop(self) -> None:
        """End every check."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, pool: str, backend: str, address: IpAddress, check: Check) -> None:
        loop = asyncio.get_running_loop()
        self._report(pool, backend, await probe(check, address))
        # A steady place in the interval for each pair: many nodes and backends never probe in step.
        phase = mmh3.hash(f"{pool}/{backend}/{address}", signed=False) / 2**32
        due = loop.time() + check.interval * (0.5 + phase / 2)
        while True:
            await asyncio.sleep(due - loop.time())
            self._report(pool, backend, await probe(check, address))
            due = max(due + check.interval, loop.time())
