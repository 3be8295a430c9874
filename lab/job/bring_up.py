"""Bringing a lab up for good: nodes and links, then whatever the caller holds to be converged."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from lab.runtime import DeployTimes, Progress, Runtime
from lab.topology.model import Topology

Converge = Callable[[Runtime, Topology, Progress], None]


@runtime_checkable
class Owned(Protocol):
    """A runtime whose labs die with the tool unless kept."""

    def keep(self) -> None:
        """Let the lab outlive the tool."""

    def close(self) -> None:
        """Part from the lab, which ends it unless it is kept."""


def bring_up(
    runtime: Runtime,
    topology: Topology,
    progress: Progress,
    *,
    converge: Converge | None = None,
    reconfigure: bool = False,
) -> None:
    """Deploy, keep, then wait for convergence: a lab that does not converge stays up to be looked at.

    `reconfigure` takes down first what runs. Raises `LabError`, and whatever `converge` raises.
    """
    try:
        if reconfigure:
            runtime.destroy(progress)
        runtime.deploy(progress)
        times = getattr(runtime, "times", None)
        if isinstance(times, DeployTimes):
            progress(f"nodes and links were up after {times.linked:.2f} s, all nodes ready after {times.ready:.2f} s")
        if isinstance(runtime, Owned):
            runtime.keep()
    finally:
        if isinstance(runtime, Owned):
            runtime.close()
    if converge:
        converge(runtime, topology, progress)
