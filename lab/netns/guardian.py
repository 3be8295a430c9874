"""The guardian of a lab: starts its nodes, and destroys it when the tool dies before it said "keep".

A process of its own with one thread, in its own session, so that neither ctrl-C nor kill -9 of the tool reaches it; and
it makes everything the lab has on disk, so there is no moment at which something exists that nobody would remove. It
reads requests, one JSON object a line, from stdin and answers on stdout. The end of stdin, or of the tool itself, means
that the tool died.

  {"op": "open", "record": LabRecord, "sysctls": {node: {name: value}}}, first: makes the network namespaces
                                              -> {"id": 0, "existed": bool} or {"id": 0, "error": text}
  {"op": "start", "id": n, "spec": NodeSpec}  -> {"id": n, "pid": PID 1} or {"id": n, "error": text}, in any order
  {"op": "keep"}      leave the lab as it is and go
  {"op": "destroy"}   remove all of it and go
"""

import contextlib
import json
import os
import select
import signal
import sys
from dataclasses import replace
from typing import Any

from lab.netns import linux, node, state
from lab.netns.spec import NodeSpec

_READ_SIZE = 1 << 16


class _RefusedError(Exception):
    """The lab cannot be had."""


class _Launch:
    """A node on its way: what its pipe has said so far."""

    def __init__(self, request: int, spec: NodeSpec) -> None:
        self.request, self.spec, self.said = request, spec, b""


class Guardian:
    """The loop. `run` returns when the lab is kept or gone."""

    def __init__(self, tool: int) -> None:
        self._poll = select.poll()
        self._tool = os.pidfd_open(tool)
        self._woken, wake = os.pipe()
        for descriptor in (0, self._tool, self._woken):
            self._poll.register(descriptor, select.POLLIN)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._input = b""
        self._launches: dict[int, _Launch] = {}
        self._record: state.LabRecord | None = None
        self._orphaned = False
        self._done = False

    def run(self) -> None:
        """Serve until the end; then, unless the lab is kept, remove it."""
        try:
            while not self._done and not self._orphaned:
                for descriptor, _ in self._poll.poll():
                    self._on_event(descriptor)
        finally:
            if not self._done and self._record and not self._record.kept:
                self._abandon()
                state.remove(self._record.lab)

    def stop(self, *_: object) -> None:
        """End as if the tool had died (a signal handler; the wake-up pipe makes the loop see it)."""
        self._orphaned = True

    def _on_event(self, descriptor: int) -> None:
        if descriptor in self._launches:
            self._on_launch(descriptor)
        elif descriptor == self._woken:
            os.read(self._woken, _READ_SIZE)
            _reap()
        elif descriptor == 0:
            self._on_input()
        else:
            self._orphaned = True

    def _on_input(self) -> None:
        data = os.read(0, _READ_SIZE)
        self._orphaned |= not data
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            if not self._done:
                self._on_request(json.loads(line))

    def _on_request(self, request: dict[str, Any]) -> None:
        match request["op"]:
            case "open":
                self._open(state.LabRecord(**request["record"]), request["sysctls"])
            case "start":
                spec = NodeSpec(**request["spec"])
                pipe = node.launch(spec)
                self._launches[pipe] = _Launch(request["id"], spec)
                self._poll.register(pipe, select.POLLIN)
            case "keep":
                self._keep()
            case "destroy":
                self._destroy()

    def _open(self, wanted: state.LabRecord, sysctls: dict[str, dict[str, str]]) -> None:
        try:
            found = _claim(wanted)
        except (_RefusedError, ValueError) as refusal:
            _answer(id=0, error=str(refusal))
            self._done = True
            return
        record = replace(found or wanted, guardian=os.getpid(), guardian_start=linux.start_time(os.getpid()))
        (state.folder(record.lab) / "root").mkdir(exist_ok=True)
        state.write(record)
        self._record = record
        error = _make_namespaces(record, sysctls)
        _answer(id=0, error=error) if error else _answer(id=0, existed=found is not None)

    def _on_launch(self, pipe: int) -> None:
        launch = self._launches[pipe]
        data = os.read(pipe, _READ_SIZE)
        launch.said += data
        if data:
            return
        self._poll.unregister(pipe)
        os.close(pipe)
        del self._launches[pipe]
        pid, message = _outcome(launch.said)
        if message or self._record is None:
            _answer(id=launch.request, error=message)
            return
        state.write_pid(self._record.lab, launch.spec.name, pid)
        _answer(id=launch.request, pid=pid)

    def _keep(self) -> None:
        if self._record:
            self._record = replace(self._record, kept=True, guardian=0, guardian_start=0)
            state.write(self._record)
        self._done = True
        _answer(id=-1)

    def _destroy(self) -> None:
        self._abandon()
        if self._record:
            state.remove(self._record.lab)
        self._done = True
        _answer(id=-1)

    def _abandon(self) -> None:
        """End launches that are under way: their processes may be in no namespace yet by which they could be found."""
        for pipe, launch in self._launches.items():
            while data := os.read(pipe, _READ_SIZE):
                launch.said += data
            pid, _ = _outcome(launch.said)
            if pid and self._record:
                state.write_pid(self._record.lab, launch.spec.name, pid)


def _claim(wanted: state.LabRecord) -> state.LabRecord | None:
    """Lock the lab's folder for as long as this process lives; the record of the kept lab that is there already."""
    if state.lock(wanted.lab) is None:
        raise _RefusedError(f"lab '{wanted.lab}' is in use by another run of this tool; wait, or take the lab down")
    found = state.read(wanted.lab)
    if found and found.kept:
        return found
    if found:
        state.remove(wanted.lab)  # its tool and its guardian died together
        if state.lock(wanted.lab) is None:
            raise _RefusedError(f"lab '{wanted.lab}' was taken by another run of this tool just now")
    taken = sorted(pin for pin in wanted.netns.values() if os.path.lexists(pin))
    strange = [name for name in wanted.interfaces if os.path.lexists(f"/sys/class/net/{name}")]
    if strange:
        state.remove(wanted.lab)
        raise _RefusedError(f"interface {strange[0]} exists already on this machine: give the link another name")
    if taken:
        state.remove(wanted.lab)
        raise _RefusedError(f"{taken[0]} exists already: another tool, such as containerlab, runs a lab of this name")
    return None


def _make_namespaces(record: state.LabRecord, sysctls: dict[str, dict[str, str]]) -> str:
    """Make the network namespaces that are missing, in a child as its own one changes. Returns what went wrong."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for name, pin in record.netns.items():
                node.make_netns(pin, sysctls.get(name, {}))
        except BaseException as error:
            os.write(writer, f"node {name}: {error}".encode())
        os._exit(0)
    os.close(writer)
    said = b""
    while data := os.read(reader, _READ_SIZE):
        said += data
    os.close(reader)
    return said.decode()


def _outcome(said: bytes) -> tuple[int, str]:
    """(pid, error message) of what a launch's pipe gave; see `node.launch`."""
    pid = 0
    for line in said.decode(errors="replace").split("\n"):
        if line.startswith("P"):
            pid = int(line[1:])
        elif line.startswith("E"):
            return pid, said.decode(errors="replace").partition("E")[2]
    return pid, "" if pid else "it died before it could say why"


def _answer(**reply: Any) -> None:
    with contextlib.suppress(BrokenPipeError):  # the tool's death is noticed by its pidfd
        os.write(1, json.dumps(reply).encode() + b"\n")


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """`python -m lab.netns.guardian TOOL_PID`."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    linux.become_subreaper()
    guardian = Guardian(int(sys.argv[1]))
    signal.signal(signal.SIGTERM, guardian.stop)
    guardian.run()


if __name__ == "__main__":
    main()
