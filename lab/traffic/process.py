"""The process that generates a client's traffic: `python -m lab.traffic.process`, inside the client node.

The plan (`lab.traffic.plan`) is the argument, or else the first line of standard input. Then commands come in, one JSON
object a line, and each is answered by one JSON object on a line of standard output:

    {"mark": "label"}   {"facts": {...}}    the interval since the previous mark, by that name (`facts.Facts`)
    {"flows": true}     {"flows": [...]}    every open connection: [client, port, vip, port, protocol, backend]
    {"stop": true}      {"report": {...}}   everything (`facts.Report`); the process ends

`{"ready": <connections>}` is printed unasked, once, when the whole population is established and answered. A command
that is none is answered by `{"error": "..."}`. The end of the input and SIGTERM mean stop. Exit codes: 0, or 2 for a
plan that is none.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lab.traffic.client import Client
from lab.traffic.plan import Plan, plan_from_json


def say(value: dict[str, Any]) -> None:
    """Print one JSON line at once."""
    sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
    sys.stdout.flush()


class Commands:
    """Answers the commands of one process."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._now = asyncio.get_running_loop().time

    def answer(self, line: str) -> dict[str, Any] | None:
        """The answer to one line, None for "stop"."""
        try:
            command = json.loads(line)
        except ValueError:
            command = None
        match command:
            case {"mark": str(label), **rest} if not rest:
                return {"facts": self._client.ledger.mark(label, self._now()).to_json()}
            case {"flows": True, **rest} if not rest:
                flows = self._client.ledger.flows()
                return {"flows": [[*flow.to_json(), backend] for flow, backend in flows.items()]}
            case {"stop": True, **rest} if not rest:
                return None
        return {
            "error": f'{line.strip()!r} is no command: expected {{"mark": text}}, {{"flows": true}}, {{"stop": true}}'
        }

    def report(self) -> dict[str, Any]:
        """The answer to "stop"."""
        return {"report": self._client.ledger.report(self._now()).to_json()}

    def progress(self) -> str:
        """One line for a person."""
        facts = self._client.ledger.report(self._now()).total
        return (
            f"{facts.established} connections, {facts.broken_connections} broken, "
            f"{facts.replies} replies, {facts.failed_requests} failed, longest gap {facts.longest_gap * 1000:.0f} ms"
        )


async def _show_progress(commands: Commands) -> None:
    while True:
        await asyncio.sleep(1.0)
        sys.stderr.write(commands.progress() + "\n")
        sys.stderr.flush()


async def _obey(commands: Commands, lines: asyncio.StreamReader) -> None:
    """Answer commands until one says stop or no more can come."""
    while line := await lines.readline():
        answer = commands.answer(line.decode("utf-8", "replace"))
        if answer is None:
            return
        say(answer)


async def _run(plan: Plan | None, progress: bool) -> int:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    try:
        plan = plan or plan_from_json(json.loads(await lines.readline()))
    except ValueError as error:
        sys.stderr.write(f"lab.traffic.process: the plan cannot be used: {error}\n")
        return 2
    client = Client(plan)
    commands = Commands(client)
    count = plan.connections.count if plan.connections else 0
    running = asyncio.create_task(client.run(lambda: say({"ready": count})))
    obeying = asyncio.create_task(_obey(commands, lines))
    showing = [asyncio.create_task(_show_progress(commands))] if progress else []
    loop.add_signal_handler(signal.SIGTERM, obeying.cancel)
    await asyncio.wait([running, obeying], return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        say(commands.report())
    for task in (running, obeying, *showing):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one client's traffic to its end; returns the exit code."""
    parser = argparse.ArgumentParser(prog="lab.traffic.process", description="Steady traffic with a ledger.")
    parser.add_argument("plan", nargs="?", help="the plan as JSON; without it, the first line of standard input")
    parser.add_argument("--progress", action="store_true", help="one line a second on standard error")
    options = parser.parse_args(arguments)
    try:
        plan = plan_from_json(json.loads(options.plan)) if options.plan else None
    except ValueError as error:
        sys.stderr.write(f"lab.traffic.process: the plan cannot be used: {error}\n")
        return 2
    return asyncio.run(_run(plan, options.progress))


if __name__ == "__main__":
    sys.exit(main())
