"""Keeps the cores awake while something is measured: a virtual core that slept takes a millisecond and more to wake.

On a router or an edge of one's own one asks for the same by `idle=poll` or through /dev/cpu_dma_latency; a virtual
machine has neither. A process per core that never sleeps, of SCHED_IDLE, takes only what nobody else wants.
"""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def awake() -> Iterator[None]:
    """While this lasts, no core sleeps."""
    processes = [
        multiprocessing.Process(target=_turn, args=(core,), daemon=True, name=f"awake-{core}")
        for core in sorted(os.sched_getaffinity(0))
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _turn(core: int) -> None:
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        pass
