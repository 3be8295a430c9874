"""`fairhop capture`: packets as the forwarder saw them, where tcpdump sees none."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from edge.cli.bpf_failure import fail_bpf
from edge.cli.common import NEGATIVE, REFUSED, fail, json_option
from edge.cli.config_file import read_config
from edge.config import file as configuration
from edge.datapath.abi import TRACE_BYTES, Reason, Verdict
from edge.datapath.bpf_error import BpfError
from edge.datapath.model import IpAddress
from edge.datapath.pcapng import Writer
from edge.datapath.trace import Event, Wanted
from edge.datapath.tracing import BusyError, Tracer
from edge.show.capture import facts, line, names_of

_PIN = "/sys/fs/bpf/fairhop"
_TURN = 0.2  # seconds between looks at the clock
_REASONS = {reason.label: reason for reason in Reason if reason}
_VERDICTS = {verdict.name.lower(): verdict for verdict in Verdict}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What the command was told."""

    config_path: Path | None
    pin: Path | None
    target: str | None
    reasons: tuple[str, ...]
    verdicts: tuple[str, ...]
    every: int
    snap: int
    count: int | None
    seconds: float | None
    quiet: bool
    as_json: bool

    @property
    def wanted(self) -> Wanted:
        """Which packets to show."""
        reasons = frozenset(_REASONS[name] for name in self.reasons)
        return Wanted(reasons, frozenset(_VERDICTS[name] for name in self.verdicts), self.every, self.snap)


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The node's configuration: where its program is pinned, and the names of its backends.",
)
@click.option("--pin", type=click.Path(path_type=Path), help=f"Where the program is pinned.  [default: {_PIN}]")
@click.option(
    "--write",
    "target",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write a pcapng file; - is standard output.",
)
@click.option(
    "--reason",
    "reasons",
    type=click.Choice(list(_REASONS)),
    multiple=True,
    metavar="REASON",
    help="Packets dropped for it; may be repeated.",
)
@click.option(
    "--verdict",
    "verdicts",
    type=click.Choice(list(_VERDICTS)),
    multiple=True,
    help="Packets with this verdict; may be repeated, and beside --reason widens it.",
)
@click.option(
    "--every",
    type=click.IntRange(1, 0xFFFFFFFF),
    default=1,
    show_default=True,
    help="Look at one packet in so many, before the choice by reason and verdict.",
)
@click.option(
    "--snap",
    type=click.IntRange(1, TRACE_BYTES),
    default=TRACE_BYTES,
    show_default=True,
    help="Keep so many bytes of a packet.",
)
@click.option("--count", type=click.IntRange(1), help="End after so many packets.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="End after this time.")
@click.option("--quiet", is_flag=True, help="Print no packets; for --write.")
@json_option  # fmt: skip
def capture(**told: Any) -> None:
    """Show sampled packets of the running forwarder, each with its verdict, reason and backend.

    One line a packet, or with --json one JSON object a line. A forwarded packet is shown in the tunnel in which it
    leaves. Ends by --count, --seconds or an interrupt; only one capture at a time.
    """
    options = _Options(**told)
    config = read_config(options.config_path, configuration.load) if options.config_path else None
    pin_dir = options.pin or Path(config.forwarder.pin if config else _PIN)
    try:
        with Tracer(pin_dir) as tracer, click.open_file(options.target or os.devnull, "wb") as file:
            tracer.start(options.wanted)
            show = _Show(names_of(config) if config else {}, file, options)
            for event in _events(tracer, options.seconds, show.flush):
                show.packet(event)
                if show.shown == options.count:
                    break
            show.flush()
    except BusyError as error:
        fail(str(error), REFUSED)
    except BpfError as error:
        fail_bpf(error)
    except (OSError, ValueError) as error:
        fail(str(error), NEGATIVE)
    click.echo(f"{show.shown} packet(s)", err=True)


def _events(tracer: Tracer, seconds: float | None, pause: Callable[[], None]) -> Iterator[Event]:
    """Packets until the time is over or somebody interrupts."""
    interrupted = list[int]()
    with ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            former = signal.signal(number, lambda caught, _: interrupted.append(caught))
            stack.callback(signal.signal, number, former)
        deadline = time.monotonic() + seconds if seconds else float("inf")
        while not interrupted and (left := deadline - time.monotonic()) > 0:
            yield from tracer.poll(min(_TURN, left))
            pause()


class _Show:
    """Prints and writes packets."""

    def __init__(self, names: dict[IpAddress, str], file: IO[bytes], options: _Options) -> None:
        self.shown = 0
        self._names, self._file, self._as_json = names, file, options.as_json
        self._quiet = options.quiet or options.target == "-"
        self._interfaces = dict(socket.if_nameindex())
        self._offset = time.time_ns() - time.monotonic_ns()  # the program's clock knows no dates
        self._writer = Writer("fairhop capture")
        file.write(self._writer.header(self._interfaces.values()))

    def packet(self, event: Event) -> None:
        """Show one packet."""
        self.shown += 1
        interface, wall = self._name(event.ifindex), event.time + self._offset
        if not self._quiet:
            told: dict[str, Any] = facts(event, interface, wall, self._names)
            sys.stdout.write((json.dumps(told) if self._as_json else line(told)) + "\n")
        comment = f"{event.verdict.name.lower()} {event.reason.label}"
        self._file.write(self._writer.packet(interface, wall, event.frame, event.length, event.verdict, comment))

    def flush(self) -> None:
        """Let others see what was shown so far."""
        sys.stdout.flush()
        self._file.flush()

    def _name(self, ifindex: int) -> str:
        if ifindex not in self._interfaces:
            self._interfaces = dict(socket.if_nameindex())
            self._interfaces.setdefault(ifindex, f"if{ifindex}")
        return self._interfaces[ifindex]
