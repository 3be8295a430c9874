"""The rows about what runs on the node itself: watched processes, checkers, BFD's gate, an upgrade of the announcer."""

import os
import signal as signals
import time
from collections.abc import Callable
from typing import Any

from lab.announce.bed import Bed, Progress
from lab.announce.measures import (
    NEVER,
    ONE,
    Effort,
    Found,
    Measure,
    Recipe,
    each,
    layout,
    milliseconds,
    node_dies,
    recover,
    require,
    stopped,
)
from lab.announce.space import eventually, in_namespace
from lab.runtime import LabError

_PIDFILE = "/run/announce/local.pid"
_LOCAL_PORT = 8080
_WATCHED_FOR = 5.0  # seconds after an upgrade in which the FIB must not change
_BFD_WITHIN = 10.0


def _process_dies(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
    found = Found()
    for _number in each(repetitions, tell):
        (pid,) = in_namespace("e1", "sleep 3600")
        armed = bed.left()
        began = time.monotonic()
        os.kill(pid, signals.SIGKILL)
        found.values.append(milliseconds(bed, armed, began, "the VIP gone"))
        if len(bed.watch.table()) != len(bed.world.vips) - 1:
            found.notes = "another VIP was touched"
        bed.local_service()
        bed.edge.await_serving()
        bed.settled()
    return found


def _local_hangs(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
    found = Found()
    for _number in each(repetitions, tell):
        armed = bed.left()
        began = time.monotonic()
        bed.hang("e1", signals.SIGSTOP)
        found.values.append(milliseconds(bed, armed, began, "the VIP gone"))
        bed.hang("e1", signals.SIGCONT)
        bed.edge.await_serving()
        bed.settled()
    return found


def _checker(signal: signals.Signals) -> Measure:
    """Until the VIPs are gone or a new checker stands by them, whichever is first."""

    def measure(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
        require(bed, "checker")
        found = Found()
        for number in each(repetitions, tell):
            old = bed.edge.pids("checker")
            armed = bed.gone()
            began = bed.edge.signal("checker", signal)
            stood = NEVER
            while armed.at is None and time.monotonic() - began < _BFD_WITHIN:
                now = bed.edge.pids("checker")
                if now and not set(now) & set(old) and bed.edge.verdict() == "SERVING":
                    stood = 1000 * (time.monotonic() - began)
                    break
                time.sleep(0.005)
            gone = 1000 * (armed.at - began) if armed.at else NEVER
            found.values.append(min(gone, stood))
            recover(bed, alone=number == 0, found=found)
        found.notes = "VIPs stay" if not bed.watch.changes(began) else found.notes
        return found

    return measure


def _bfd(measure: Measure) -> Measure:
    """The same with BFD up between the edge and the router."""

    def measured(bed: Bed, repetitions: int, effort: Effort, tell: Progress) -> Found:
        require(bed, "bfd")
        return measure(bed, repetitions, effort, tell)

    return measured


def _upgrade(bed: Bed, repetitions: int, _: Effort, tell: Progress) -> Found:
    """The daemon hands over and leaves; ExaBGP is ended, as a new version asks for; a new daemon starts both."""
    require(bed, "bfd")
    found = Found()
    for _number in each(repetitions, tell):
        old = bed.edge.pid("exabgp")
        began = bed.edge.signal("daemon", signals.SIGUSR2)
        eventually(lambda: not bed.edge.pids("daemon"), 5.0, "the daemon hands over")
        bed.edge.signal("exabgp", signals.SIGTERM)
        bed.edge.launch()
        bed.edge.await_serving()
        time.sleep(max(0.0, began + _WATCHED_FOR - time.monotonic()))
        if bed.edge.pid("exabgp") == old:
            raise LabError("ExaBGP was not replaced: nothing was shown")
        changes = bed.watch.changes(began)
        found.values.append(float(len(changes)))
        if changes:
            seen = [(round(at - began, 3), str(prefix), list(hops)) for at, prefix, hops in changes]
            found.facts.setdefault("changes, seconds after the order", []).append(seen)
        bed.settled()
    return found


_PROCESS = {"type": "process", "pidfile": _PIDFILE, "hold_down": 0.1, "damping": False, "rise": 1}
_WEB = {"type": "http", "port": _LOCAL_PORT, "path": "/healthz", "hold_down": 0.1, "damping": False}


def _with_bfd(**options: Any) -> Callable[..., Any]:
    return layout(bfd=True, **options)


LOCAL_RECIPES: dict[str, Recipe] = {
    "process-dies": (layout(local_check=_PROCESS), _process_dies),
    "local-service-hangs": (layout(local_check=_WEB), _local_hangs),
    "checker-killed": (ONE, _checker(signals.SIGKILL)),
    "checker-stopped": (ONE, _checker(signals.SIGSTOP)),
    "daemon-wedged-bfd": (_with_bfd(), _bfd(stopped("daemon"))),
    "node-dead-bfd": (_with_bfd(), _bfd(node_dies)),
    "upgrade": (_with_bfd(graceful=True), _upgrade),
}
