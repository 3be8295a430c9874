"""The order in which nodes may pass the stages of a deployment, as containerlab has it.

A node enters a stage when every `wait-for` of that stage is satisfied: when the other node has left the stage it names.
"""

import threading
from collections.abc import Mapping

from lab.runtime import LabError
from lab.topology.model import Node, StageName


class Stages:
    """A barrier shared by one thread a node."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._left: set[tuple[str, StageName]] = set()
        self._changed = threading.Condition()
        self._cancelled = False

    def enter(self, node: str, stage: StageName) -> None:
        """Block until `node` may enter `stage`. Raises `LabError` when the deployment is cancelled meanwhile."""
        waits = self._nodes[node].stages[stage].wait_for if stage in self._nodes[node].stages else ()
        wanted = {(wait.node, wait.stage) for wait in waits}
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled or wanted <= self._left)
            if self._cancelled:
                raise LabError("the deployment was cancelled")

    def leave(self, node: str, stage: StageName) -> None:
        """Tell that `node` is done with `stage`."""
        with self._changed:
            self._left.add((node, stage))
            self._changed.notify_all()

    def is_awaited(self, node: str, stage: StageName) -> bool:
        """Whether any node waits for `node` to leave `stage`."""
        return any(
            (wait.node, wait.stage) == (node, stage)
            for other in self._nodes.values()
            for definition in other.stages.values()
            for wait in definition.wait_for
        )

    def cancel(self) -> None:
        """Let every waiting thread fail."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
