"""A daemon that does nothing but beat: `python -m tests.bgp.bfd.edge RUN_DIR CONFIG_JSON` in a namespace.

Orders are JSON lines on stdin: {"beat": [SOURCE...]} (who beats from now on), {"admin_down": true}, {"hold": SECONDS},
{"freeze": SECONDS} (the loop hangs), {"config": {...}}, {"ask": N}, {"stop": true} (false leaves the process).
Events and answers are JSON lines on stdout, each with its time `at` on CLOCK_MONOTONIC.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bgp.bfd.config import BfdConfig, from_plain
from bgp.bfd.gate import HOLD_MAX
from bgp.bfd.link import Bfd
from bgp.bfd.privileges import run_first
from bgp.bfd.status import GapCount
from bgp.report import Event
from bgp.wire import LineBuffer


def say(**what: object) -> None:
    print(json.dumps({"at": time.monotonic(), **what}), flush=True)


def on_change(event: Event) -> None:
    say(subject=event.subject, old=event.old, new=event.new, reason=event.reason)


def config_from(plain: dict[str, Any]) -> BfdConfig:
    shell = {key: plain.pop(key) for key in ("user", "priority") if key in plain}
    return replace(from_plain(plain), **shell)


class Edge:
    """Beats as often as the gate's quickest source asks for, and measures how well that goes.

    `FAIRHOP_NICE` is the nice value it runs with, `FAIRHOP_FIRST` its priority of SCHED_FIFO, 0 for none.
    """

    def __init__(self, run_dir: Path, config: BfdConfig) -> None:
        self.bfd = Bfd(config, run_dir, on_change)
        self.beating = [source.name for source in config.gate]
        self.pause = min((source.interval for source in config.gate), default=0.02)
        self.gaps = GapCount()
        self.stopped = asyncio.Event()

    async def run(self) -> None:
        lines = LineBuffer()
        orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        def read() -> None:
            for line in lines.feed(os.read(0, 65536) or b'{"stop": true}\n'):
                orders.put_nowait(json.loads(line))

        asyncio.get_running_loop().add_reader(0, read)
        await self.bfd.start()
        run_first(int(os.environ.get("FAIRHOP_FIRST", "0")))
        os.setpriority(os.PRIO_PROCESS, 0, int(os.environ.get("FAIRHOP_NICE", "0")))
        last, next_at = time.monotonic(), time.monotonic()
        while not self.stopped.is_set():
            now = time.monotonic()
            for source in self.beating:
                self.bfd.beat(source)
            self.gaps.add(now - last)
            last = now
            next_at = max(next_at + self.pause, now)
            order: dict[str, Any] = {}
            with contextlib.suppress(TimeoutError):
                order = await asyncio.wait_for(orders.get(), max(0.0, next_at - time.monotonic()))
            await self.obey(order)

    async def obey(self, order: dict[str, Any]) -> None:
        if "beat" in order:
            self.beating = order["beat"]
        if "admin_down" in order:
            self.bfd.admin_down(order["admin_down"])
        if "hold" in order:
            self.bfd.hold(min(order["hold"], HOLD_MAX))
        if "freeze" in order:
            time.sleep(order["freeze"])
        if "config" in order:
            self.bfd.reconfigure(config_from(order["config"]))
        if "ask" in order:
            view = self.bfd.view()
            state = asdict(view.state) if view.state else None
            sessions = [asdict(one) for one in self.bfd.sessions()]
            beats = asdict(self.gaps.gaps())
            say(answer=order["ask"], phase=view.phase.value, pid=view.pid, state=state, sessions=sessions, beats=beats)
        if "stop" in order:
            await self.bfd.stop(admin_down=order["stop"])
            say(stopped=True)
            self.stopped.set()


if __name__ == "__main__":
    asyncio.run(Edge(Path(sys.argv[1]), config_from(json.loads(sys.argv[2]))).run())
