"""The process of a backend: host settings, decapsulator, echo service; ends on SIGTERM or SIGINT.

Ending leaves the decapsulator attached by its pinned link, so a restart or an upgrade loses no packet.
"""

import asyncio
import contextlib
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from edge.backend import host
from edge.backend.config import BackendConfig
from edge.backend.echo import Echo
from edge.daemon.notify import Notifier
from edge.datapath.bpf_error import BpfError
from edge.datapath.decapsulator import Decapsulator
from edge.datapath.pinned import Attachment

_LOOK_AGAIN = 5.0  # seconds between looks at what others may have changed: interface, addresses, route


async def serve(config: BackendConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises `HostError`, `BpfError` or OSError for what keeps it from starting."""
    stopped = _stop_on_signals()
    for change in await asyncio.to_thread(host.ensure, config):
        _say(change)
    async with AsyncExitStack() as stack:
        opened = await asyncio.to_thread(Decapsulator.open, Path(config.pin), [config.interface], config.mode)
        decapsulator = stack.enter_context(opened)
        await asyncio.to_thread(decapsulator.apply, config.decap_state)
        _say(_describe(decapsulator.attachments))
        if config.echo:
            await stack.enter_async_context(Echo(config.name, config.echo.port))
            _say(f"echo on port {config.echo.port}, TCP and UDP")
        notifier = Notifier()
        notifier.say("READY=1")
        await _keep(config, decapsulator, stopped, notifier)
        notifier.say("STOPPING=1")
    _say("stopped; the decapsulator stays attached")


async def _keep(
    config: BackendConfig, decapsulator: Decapsulator, stopped: asyncio.Event, notifier: Notifier
) -> None:  # fmt: skip
    """Repair what others undo, until stopped; a fault is said once, and again when it changes."""
    fault = ""
    while not stopped.is_set():
        notifier.beat()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), _LOOK_AGAIN)
            return
        before, now = decapsulator.attachments, ""
        try:
            for change in await asyncio.to_thread(host.ensure, config):
                _say(change)
            await asyncio.to_thread(decapsulator.reattach)
        except (host.HostError, BpfError) as error:
            now = str(error)
        if decapsulator.attachments != before:
            _say(_describe(decapsulator.attachments))
        if now != fault:
            _say(now or "in order again")
        fault = now


def _stop_on_signals() -> asyncio.Event:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped


def _describe(attachments: tuple[Attachment, ...]) -> str:
    words = []
    for found in attachments:
        how = f"{found.mode} mode" if found.mode else "not attached"
        since = ", adopted" if found.adopted else ""
        words.append(f"{found.interface}: {how}{since}" + (f" ({found.remark})" if found.remark else ""))
    return "decapsulator on " + "; ".join(words)


def _say(line: str) -> None:
    print(f"fairhop backend: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the log of this process is stderr
