"""Brings one lab up: a thread a node walks through the stages; the first of two nodes that is there lays their link."""

import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

from lab.netns.links import LinkLayer
from lab.netns.stages import Stages
from lab.runtime import Completed, LabError, Progress
from lab.topology_model import Healthcheck, Node, StageName, Topology

_COMMAND_TIMEOUT = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5


@dataclass(frozen=True, slots=True)
class NodeAccess:
    """What a deployment does to nodes: start one, run a command in one, see whether it runs, read its log's end."""

    start: Callable[[str], None]
    exec: Callable[[str, Sequence[str], float], Completed]
    is_running: Callable[[str], bool]
    log_tail: Callable[[str], str]


class Deployment:
    """One pass over a topology. `run` returns when every node is ready, or raises after `abort` has been called."""

    def __init__(self, topology: Topology, access: NodeAccess, progress: Progress) -> None:
        self._topology, self._access, self._progress = topology, access, progress
        self._stages = Stages(topology.nodes)
        self._stopped = threading.Event()

    def run(self, abort: Callable[[], None]) -> None:
        """Deploy. On any failure or interrupt `abort` is called, which must make what still runs end soon."""
        with LinkLayer(self._topology) as links, ThreadPoolExecutor(len(self._topology.nodes)) as pool:
            try:
                jobs = [pool.submit(self._deploy, node, links) for node in self._topology.nodes.values()]
                finished, _ = wait(jobs, return_when=FIRST_EXCEPTION)
                for job in finished:
                    job.result()
            except BaseException:
                self._stopped.set()
                self._stages.cancel()
                abort()
                raise

    def _deploy(self, node: Node, links: LinkLayer) -> None:
        self._pass(node, "create", lambda: self._create(node))
        self._pass(node, "create-links", lambda: links.lay(node.name))
        self._pass(node, "configure", lambda: None)
        for command in node.exec:
            self._run_logged(node.name, command)
        if node.healthcheck and node.healthcheck.test[0] != "NONE":
            check = node.healthcheck
            self._pass(node, "healthy", lambda: self.wait_healthy(node.name, check))
        if self._stages.is_awaited(node.name, "exit"):
            self._pass(node, "exit", lambda: self._wait_exit(node.name))

    def _pass(self, node: Node, stage: StageName, act: Callable[[], None]) -> None:
        self._stages.enter(node.name, stage)
        self._run_stage_commands(node, stage, "on-enter")
        act()
        self._run_stage_commands(node, stage, "on-exit")
        self._stages.leave(node.name, stage)

    def _create(self, node: Node) -> None:
        if self._stopped.wait(node.startup_delay):
            raise LabError("the deployment was cancelled")
        if not self._access.is_running(node.name):
            self._access.start(node.name)

    def _run_stage_commands(self, node: Node, stage: StageName, phase: str) -> None:
        for command in node.stages[stage].commands if stage in node.stages else ():
            if command.phase == phase:
                self._run_logged(node.name, command.command, on_host=command.target == "host")

    def _run_logged(self, node: str, command: str, *, on_host: bool = False) -> None:
        """Run a command of the file. As in containerlab its failure is told, and is no failure of the lab."""
        argv = shlex.split(command)
        try:
            done = _on_host(argv) if on_host else self._access.exec(node, argv, _COMMAND_TIMEOUT)
        except LabError as error:
            self._progress(f"{node}: exec '{command}': {error}")
            return
        if done.returncode:
            words = (done.stderr or done.stdout).strip()
            self._progress(f"{node}: exec '{command}' exited with {done.returncode}: {words}")

    def wait_healthy(self, node: str, check: Healthcheck) -> None:
        """Ask the node's health check, more often than Docker does, until it is content.

        Raises `LabError` when the node ends, or when Docker would call it unhealthy.
        """
        argv = _health_argv(check)
        deadline = time.monotonic() + check.start_period + check.retries * (check.interval + check.timeout)
        pause = _FIRST_PAUSE
        while True:
            try:
                done = self._access.exec(node, argv, check.timeout)
                words = (done.stderr or done.stdout).strip()
            except LabError as error:
                done, words = None, str(error)
            if done and done.returncode == 0:
                return
            if not self._access.is_running(node):
                raise LabError(f"node {node} ended before it was ready; its log says: {self._access.log_tail(node)}")
            if time.monotonic() >= deadline:
                raise LabError(f"node {node} is not healthy: '{shlex.join(argv)}' says: {words}")
            if self._stopped.wait(pause):
                raise LabError("the deployment was cancelled")
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _wait_exit(self, node: str) -> None:
        while self._access.is_running(node):
            if self._stopped.wait(_FIRST_PAUSE):
                raise LabError("the deployment was cancelled")


def _health_argv(check: Healthcheck) -> list[str]:
    kind, *words = check.test
    return ["/bin/sh", "-c", " ".join(words)] if kind == "CMD-SHELL" else words if kind == "CMD" else list(check.test)


def _on_host(argv: Sequence[str]) -> Completed:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(str(error)) from None
    return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)
