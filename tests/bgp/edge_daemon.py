"""A daemon that does nothing but announce: `python -m tests.bgp.edge_daemon RUN_DIR CONFIG_JSON`.

Orders are JSON lines on stdin: {"declare": {PREFIX: null or what of `to_plain` differs from the defaults}},
{"feed": [PREFIX...]} (heartbeat for these only; null for all), {"reconfigure": CONFIG}, {"hang": SECONDS},
{"state": true}, {"stop": true}. Answers and events are JSON lines on stdout.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

from bgp.process import ProcessError
from bgp.report import Event, word
from bgp.route import Prefix, from_plain, parse_prefix
from bgp.speaker import Speaker
from bgp.speaker_config import PeerConfig, SpeakerConfig, SpeakerConfigError
from bgp.wire import LineBuffer

DEFAULTS: dict[str, Any] = {"next_hop": "self", "med": None, "communities": []}


def config_from(plain: dict[str, Any]) -> SpeakerConfig:
    """Read what `json.dumps` made of the test's settings."""
    kinds = {"address", "local_address", "local_address4", "local_address6"}
    read = [{k: ip_address(v) if k in kinds else v for k, v in p.items()} for p in plain["peers"]]
    peers = tuple(PeerConfig(**peer) for peer in read)  # type: ignore[arg-type]  # what JSON held
    prefixes = tuple(parse_prefix(p) for p in plain["prefixes"])
    rest = {k: v for k, v in plain.items() if k not in ("peers", "prefixes", "router_id")}
    return SpeakerConfig(router_id=IPv4Address(plain["router_id"]), peers=peers, prefixes=prefixes, **rest)


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def on_change(event: Event) -> None:
    say(event=event.subject, old=event.old, new=event.new, reason=event.reason)


def report(speaker: Speaker) -> None:
    state = speaker.state()
    say(
        state=state.phase.value,
        exabgp=state.exabgp_pid,
        relay=state.relay_pid,
        converged=state.converged,
        prefixes={str(p): word(s.acked) for p, s in state.prefixes.items()},
        peers={p.name: p.up for p in state.peers},
        adrift=speaker.adrift,
    )


def reconfigure(speaker: Speaker, plain: dict[str, Any]) -> None:
    try:
        speaker.reconfigure(config_from(plain))
    except (SpeakerConfigError, ProcessError) as error:
        say(refused=str(error))


async def main() -> None:
    speaker = Speaker(config_from(json.loads(sys.argv[2])), Path(sys.argv[1]), on_change)
    fed: list[Prefix] | None = None
    orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    lines = LineBuffer()

    def read() -> None:
        for line in lines.feed(os.read(0, 65536) or b'{"stop": true}\n'):
            orders.put_nowait(json.loads(line))

    asyncio.get_running_loop().add_reader(0, read)
    await speaker.start()
    while True:
        order: dict[str, Any] = {}
        with contextlib.suppress(TimeoutError):
            order = await asyncio.wait_for(orders.get(), 0.1)
        if "declare" in order:
            routes = {parse_prefix(p): r for p, r in order["declare"].items()}
            speaker.declare({p: None if r is None else from_plain(p, DEFAULTS | r) for p, r in routes.items()})
        if "reconfigure" in order:
            reconfigure(speaker, order["reconfigure"])
        if "hang" in order:
            time.sleep(order["hang"])  # a wedged work loop, on purpose
        if "feed" in order:
            fed = [parse_prefix(p) for p in order["feed"]] if order["feed"] is not None else None
        if "state" in order:
            report(speaker)
        if "stop" in order:
            await speaker.stop()
            say(stopped=True)
            return
        speaker.heartbeat(fed)


if __name__ == "__main__":
    asyncio.run(main())
