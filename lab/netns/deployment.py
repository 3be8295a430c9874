"""Brings one lab up: a thread a node walks through the stages; the first of two nodes that is there lays their link."""

import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from lab.netns.links import LinkLayer
from lab.netns.places import Places
from lab.netns.readiness import NodeAccess, wait_ready
from lab.netns.stages import Stages
from lab.runtime import Completed, LabError, Progress
from lab.topology.model import STAGES, Node, StageName, Topology

_COMMAND_TIMEOUT = 60.0
_EXIT_POLL = 0.05
_REPORT_EVERY = 5.0


class Deployment:
    """One pass over a topology. `run` returns when every node is ready, or raises after `abort` has been called.

    `laid` is when the last node was started and had its links (CLOCK_MONOTONIC, s), 0 before; `on_laid` hears of it.
    """

    def __init__(
        self,
        topology: Topology,
        places: Places,
        access: NodeAccess,
        links: LinkLayer,
        progress: Progress,
        on_laid: Callable[[], None],
        on_ready: Callable[[str], None],
    ) -> None:
        self._topology, self._access, self._links, self._progress = topology, access, links, progress
        self._on_laid, self._on_ready = on_laid, on_ready
        self._own = frozenset(places.processes())
        self._stages = Stages(topology.nodes)
        self._stopped = threading.Event()
        self._unlinked = set(topology.nodes)
        self.laid = 0.0

    def run(self, abort: Callable[[], None]) -> None:
        """Deploy. On any failure or interrupt `abort` is called, which must make what still runs end soon."""
        with ThreadPoolExecutor(len(self._topology.nodes)) as pool:
            try:
                self._await_all({pool.submit(self._deploy, node): name for name, node in self._topology.nodes.items()})
            except BaseException:
                self._stopped.set()
                self._stages.cancel()
                abort()
                raise

    def _await_all(self, jobs: dict[Future[None], str]) -> None:
        """Return when all are done, raise the first failure, and say now and then what is missing."""
        pending = set(jobs)
        while pending:
            done, pending = wait(pending, timeout=_REPORT_EVERY, return_when=FIRST_EXCEPTION)
            for job in done:
                job.result()
            if pending and not done:
                self._progress(f"waiting for {', '.join(sorted(jobs[job] for job in pending))}")

    def _deploy(self, node: Node) -> None:
        if node.name in self._own and self._access.is_running(node.name):
            self._confirm(node)
            return
        self._pass(node, "create", lambda: self._create(node))
        self._pass(node, "create-links", lambda: self._links.lay(node.name))
        self._note_linked(node.name)
        self._pass(node, "configure", lambda: None)
        for command in node.exec:
            self._run_logged(node.name, command)
        if node.healthcheck and node.name in self._own:
            self._pass(node, "healthy", lambda: wait_ready(node, self._access, self._stopped))
        if node.name in self._own:
            self._on_ready(node.name)
        if self._stages.is_awaited(node.name, "exit"):
            self._pass(node, "exit", lambda: self._wait_exit(node.name))

    def _confirm(self, node: Node) -> None:
        """A node that runs already keeps running: its commands are not run again, and nobody need wait for it."""
        self._links.lay(node.name)
        self._note_linked(node.name)
        wait_ready(node, self._access, self._stopped)
        for stage in STAGES[:4]:
            self._stages.leave(node.name, stage)

    def _note_linked(self, node: str) -> None:
        self._unlinked.discard(node)
        if not self._unlinked:
            self.laid = time.monotonic()
            self._on_laid()

    def _pass(self, node: Node, stage: StageName, act: Callable[[], None]) -> None:
        self._stages.enter(node.name, stage)
        self._run_stage_commands(node, stage, "on-enter")
        act()
        self._run_stage_commands(node, stage, "on-exit")
        self._stages.leave(node.name, stage)

    def _create(self, node: Node) -> None:
        if self._stopped.wait(node.startup_delay):
            raise LabError("the deployment was cancelled")
        if node.name in self._own:
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

    def _wait_exit(self, node: str) -> None:
        while self._access.is_running(node):
            if self._stopped.wait(_EXIT_POLL):
                raise LabError("the deployment was cancelled")


def _on_host(argv: Sequence[str]) -> Completed:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(str(error)) from None
    return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)
