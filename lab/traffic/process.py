"""The process that generates a client's traffic: `python -m lab.traffic.process`, inside the client node.

The plan (`lab.traffic.plan`) is the argument, or else the first line of standard input. Then commands come in, one JSON
object a line, and each is answered by one JSON object on a line of standard output:

    {"mark": "label"}    {"facts": {...}}      by stream: the interval since the previous mark (`facts.Facts`)
    {"flows": true}      {"flows": [...]}      every open flow: [client, port, vip, port, protocol, backend]
    {"requests": true}   {"requests": [...]}   those that ended since this was asked last (`series.Done`)
    {"series": second}   {"series": [...]}     answers and failures from that second on (`series.Sample`)
    {"stop": true}       {"reports": {...}}    by stream: everything (`facts.Report`); the process ends

`{"ready": <flows>}` is printed unasked, once, when all flows that shall be held open are established and answered. A
command that is none is answered by `{"error": "..."}`. The end of the input and SIGTERM mean stop: nothing more is
sent, and answers to datagrams under way are awaited, for a second at most. Exit codes: 0, or 2 for a plan that is none.
"""

import argparse
import json
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from lab.traffic.client import Client
from lab.traffic.facts import merge_facts
from lab.traffic.plan import Plan, plan_from_json
from lab.traffic.reactor import READ, Reactor
from lab.traffic.series import done_to_json
from lab.traffic.streams import Bulk, Requests

_EXPECTED = '{"mark": text}, {"flows": true}, {"requests": true}, {"series": second}, {"stop": true}'
_RECEIVE = 1 << 16


def say(value: dict[str, Any]) -> None:
    """Print one JSON line at once."""
    sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
    sys.stdout.flush()


class Commands:
    """Reads the commands of one process and answers them. `over`: stop was said, or no more can come."""

    def __init__(self, client: Client, pending: bytes) -> None:
        self.over = False
        self._client = client
        self._pending = pending
        self._obey_all()

    def readable(self, _: int) -> None:
        """Standard input has something, or its end."""
        data = os.read(sys.stdin.fileno(), _RECEIVE)
        self._pending += data
        self._obey_all()
        self.over = self.over or not data

    def answer(self, line: str) -> dict[str, Any] | None:
        """The answer to one line, None for "stop"."""
        try:
            command = json.loads(line)
        except ValueError:
            command = None
        client = self._client
        match command:
            case {"mark": str(label), **rest} if not rest:
                return {"facts": {name: facts.to_json() for name, facts in client.mark(label).items()}}
            case {"flows": True, **rest} if not rest:
                return {"flows": [[*flow.to_json(), backend] for flow, backend in client.flows().items()]}
            case {"requests": True, **rest} if not rest:
                return {"requests": [done_to_json(done) for done in client.requests()]}
            case {"series": int(since), **rest} if not rest:
                return {"series": client.series(since)}
            case {"stop": True, **rest} if not rest:
                return None
        return {"error": f"{line.strip()!r} is no command: expected {_EXPECTED}"}

    def _obey_all(self) -> None:
        *lines, self._pending = self._pending.split(b"\n")
        for line in lines:
            if not self.over:
                answer = self.answer(line.decode("utf-8", "replace"))
                self.over = answer is None
                if answer is not None:
                    say(answer)


def progress(client: Client) -> str:
    """One line for a person."""
    reports = client.report()
    if not reports:
        return "nothing to send"
    facts = merge_facts([report.total for report in reports.values()])
    return (
        f"{facts.established} flows, {facts.broken_connections} broken, {facts.replies} replies, "
        f"{facts.failed_requests} failed, longest gap {facts.longest_gap * 1000:.0f} ms"
    )


def read_plan() -> tuple[object, bytes]:
    """The JSON value in the first line of standard input, and what came with it; ValueError when it is none."""
    data = b""
    while b"\n" not in data:
        more = os.read(sys.stdin.fileno(), _RECEIVE)
        if not more:
            break
        data += more
    line, _, rest = data.partition(b"\n")
    return json.loads(line), rest


def _run(plan: Plan, pending: bytes, show: bool) -> None:
    terminated = False

    def terminate(*_: object) -> None:
        nonlocal terminated
        terminated = True

    signal.signal(signal.SIGTERM, terminate)
    reactor = Reactor()
    client = Client(plan, reactor)
    commands = Commands(client, pending)
    forget = _watch_input(reactor, commands)
    held = sum(0 if isinstance(each, Requests | Bulk) else each.count for each in plan.streams.values())
    shown = reactor.now()

    def going_on() -> bool:
        nonlocal shown
        if show and reactor.now() >= shown + 1.0:
            shown += 1.0
            sys.stderr.write(progress(client) + "\n")
            sys.stderr.flush()
        if commands.over:
            forget()
        return not (commands.over or terminated)

    client.run(lambda: say({"ready": held}), going_on)
    forget()
    stopped = client.settle()
    say({"reports": {name: report.to_json() for name, report in client.report(stopped).items()}})
    client.close()
    reactor.close()


def _watch_input(reactor: Reactor, commands: Commands) -> Callable[[], None]:
    """Wait for commands; returns what ends that. An input that epoll cannot wait for, a file, is read at once."""
    fd = sys.stdin.fileno()
    try:
        reactor.watch(fd, READ | select.EPOLLHUP, commands.readable)
    except PermissionError:
        while not commands.over:
            commands.readable(0)
    return lambda: reactor.forget(fd)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one client's traffic to its end; returns the exit code."""
    parser = argparse.ArgumentParser(prog="lab.traffic.process", description="Steady traffic with a ledger.")
    parser.add_argument("plan", nargs="?", help="the plan as JSON; without it, the first line of standard input")
    parser.add_argument("--progress", action="store_true", help="one line a second on standard error")
    options = parser.parse_args(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every flow is a descriptor
    try:
        value, pending = (json.loads(options.plan), b"") if options.plan else read_plan()
        plan = plan_from_json(value)
    except ValueError as error:
        sys.stderr.write(f"lab.traffic.process: the plan cannot be used: {error}\n")
        return 2
    _run(plan, pending, options.progress)
    return 0


if __name__ == "__main__":
    sys.exit(main())
