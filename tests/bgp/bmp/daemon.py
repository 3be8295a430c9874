"""A daemon that only reads back: `python -m tests.bgp.bmp.daemon RUN_DIR CONFIG_JSON`.

Orders are JSON lines on stdin: {"intend": {PREFIX: null or {"med": N, ...}}} or {"stop": true}. It prints {"view": ...}
whenever that changes, and {"event": [subject, old, new, reason]}.
"""

import asyncio
import dataclasses
import json
import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from bgp.bmp.config import from_line
from bgp.bmp.link import Station
from bgp.bmp.readback import ReadBack
from bgp.report import Event
from bgp.route import Route, parse_prefix
from bgp.wire import LineBuffer


def plain(view: ReadBack) -> dict[str, Any]:
    """A view as the tests read it."""
    return {
        "routers": {
            router.name: {
                "known": router.known,
                "reason": router.reason,
                "accepted": sorted(map(str, router.accepted)),
                "refused": sorted(map(str, router.refused)),
                "others": {str(prefix): dict(names) for prefix, names in router.others.items()},
                "digests": {str(prefix): dict(names) for prefix, names in router.digests.items()},
                "foreign": {str(prefix): sorted(origins) for prefix, origins in router.foreign.items()},
            }
            for router in view.routers
        },
        "findings": sorted([f.fault.name, f.router, str(f.prefix), f.detail] for f in view.findings),
    }


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def on_change(event: Event) -> None:
    say(event=[event.subject, event.old, event.new, event.reason])


async def main() -> None:
    settings = json.loads(sys.argv[2])
    peers, untold = settings.pop("peers"), {key: settings.pop(key) for key in ("grace", "user")}
    config = dataclasses.replace(from_line(json.dumps(settings).encode()), **untold)
    routers = [dataclasses.replace(r, peers=tuple(map(ip_address, peers[r.name]))) for r in config.routers]
    station = Station(dataclasses.replace(config, routers=tuple(routers)), Path(sys.argv[1]), on_change)
    orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    lines = LineBuffer()

    def read() -> None:
        for line in lines.feed(os.read(0, 65536) or b'{"stop": true}\n'):
            orders.put_nowait(json.loads(line))

    asyncio.get_running_loop().add_reader(0, read)
    await station.start()
    shown = None
    while True:
        try:
            order = await asyncio.wait_for(orders.get(), 0.05)
        except TimeoutError:
            order = {}
        if "intend" in order:
            routes = {parse_prefix(p): r for p, r in order["intend"].items()}
            station.intend({p: None if r is None else Route(p, **r) for p, r in routes.items()})
        if "stop" in order:
            await station.stop()
            return
        view = plain(station.view()) | {"pid": station.pid}
        if view != shown:
            shown = view
            say(view=view)


if __name__ == "__main__":
    asyncio.run(main())
