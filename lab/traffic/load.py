"""The lab's handle on a traffic process in a client node: start it, mark steps, take its facts."""

import json
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

from lab.runtime import LabError, Runtime
from lab.traffic.facts import Facts, Report, facts_from_json, merge_reports, merge_streams, report_from_json
from lab.traffic.flow import Flow, flow_from_json
from lab.traffic.plan import Plan
from lab.traffic.series import Done, Sample, done_from_json, merge_samples, sample_from_json

ANSWER_WITHIN = 10.0  # seconds


class Load:
    """One running `lab.traffic.process`. Not for use by several threads at once; every method raises LabError."""

    def __init__(self, node: str, process: subprocess.Popen[str], plan: Plan) -> None:
        """Take over a process just started by `Runtime.spawn`, with text pipes on all three streams."""
        self.node = node
        self.plan = plan
        self._process = process
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._ready = False
        self._errors: deque[str] = deque(maxlen=20)
        self._readers = [
            threading.Thread(target=self._read_answers, name=f"{node} answers"),
            threading.Thread(target=self._read_errors, name=f"{node} errors"),
        ]
        for reader in self._readers:
            reader.start()
        self._send(plan.to_json())

    @classmethod
    def start(cls, runtime: Runtime, node: str, plan: Plan, python: str) -> Self:
        """Start traffic in a client node. `python`: an interpreter of the node that can import `lab`."""
        return cls(node, runtime.spawn(node, [python, "-m", "lab.traffic.process"]), plan)

    def wait_ready(self, timeout: float) -> None:
        """Return when every flow held open is established and answered; LabError after `timeout` seconds."""
        if not self._ready:
            self._ask(None, "ready", timeout)
            self._ready = True

    def mark(self, label: str) -> dict[str, Facts]:
        """End the interval since the previous mark, give it a name and return its facts, by stream."""
        self.begin_mark(label)
        return self.end_mark()

    def begin_mark(self, label: str) -> None:
        """The first half of `mark`, to mark several clients at once; `end_mark` must follow."""
        self._send({"mark": label})

    def end_mark(self) -> dict[str, Facts]:
        """The second half of `mark`."""
        facts = self._ask(None, "facts", ANSWER_WITHIN)
        return {name: facts_from_json(each) for name, each in facts.items()}

    def flows(self) -> dict[Flow, str]:
        """Every open flow, of TCP and of UDP, and the backend that answers it ("" before the first answer)."""
        return {flow_from_json(row[:5]): str(row[5]) for row in self._ask({"flows": True}, "flows", ANSWER_WITHIN)}

    def requests(self) -> list[Done]:
        """The requests and transfers that ended since the last call, in order of time; the latest 100,000 of them."""
        return [done_from_json(row) for row in self._ask({"requests": True}, "requests", ANSWER_WITHIN)]

    def series(self, since: int = 0) -> list[Sample]:
        """Answers and failures by second, stream and backend, from second `since` of CLOCK_MONOTONIC on.

        The second that is not over yet is told as far as it went.
        """
        return [sample_from_json(row) for row in self._ask({"series": since}, "series", ANSWER_WITHIN)]

    def stop(self) -> dict[str, Report]:
        """End the traffic and return all that was recorded, by stream."""
        self.begin_stop()
        return self.end_stop()

    def begin_stop(self) -> None:
        """The first half of `stop`, to stop several clients at once; `end_stop` must follow."""
        self._send({"stop": True})

    def end_stop(self) -> dict[str, Report]:
        """The second half of `stop`: answers to datagrams under way are awaited, for a second at most."""
        reports = self._ask(None, "reports", ANSWER_WITHIN)
        self.close()
        return {name: report_from_json(each) for name, each in reports.items()}

    def close(self) -> None:
        """End the process, if it has not ended, and release its pipes; idempotent."""
        if self._process.stdin and not self._process.stdin.closed:
            with suppress(BrokenPipeError):
                self._process.stdin.close()  # the end of its input means stop
        try:
            self._process.wait(ANSWER_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, command: dict[str, Any]) -> None:
        stdin = _stream(self._process.stdin)
        try:
            stdin.write(json.dumps(command) + "\n")
            stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise self._ended() from error

    def _ask(self, command: dict[str, Any] | None, wanted: str, timeout: float) -> Any:
        """The answer named `wanted`, after sending `command`, if any; "ready" may come at any time."""
        if command is not None:
            self._send(command)
        deadline = time.monotonic() + timeout
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise LabError(f"{self.node}: no {wanted!r} from its traffic within {timeout:g} s") from None
            if answer is None:
                raise self._ended()
            if wanted in answer:
                return answer[wanted]
            if "ready" not in answer:
                raise LabError(f"{self.node}: its traffic answered {answer}, expected {wanted!r}")
            self._ready = True

    def _ended(self) -> LabError:
        self._process.wait()
        self._readers[1].join()
        text = " | ".join(self._errors) or "it said nothing"
        return LabError(f"{self.node}: its traffic ended with code {self._process.returncode}: {text}")

    def _read_answers(self) -> None:
        for line in _stream(self._process.stdout):
            try:
                answer = json.loads(line)
            except ValueError:
                answer = {"error": f"no JSON: {line.strip()!r}"}
            self._answers.put(answer if isinstance(answer, dict) else {"error": f"no object: {line.strip()!r}"})
        self._answers.put(None)

    def _read_errors(self) -> None:
        for line in _stream(self._process.stderr):
            self._errors.append(line.strip())


def _stream(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise LabError("a traffic process needs pipes on all three streams")
    return stream


def mark_all(loads: Sequence[Load], label: str) -> dict[str, Facts]:
    """Mark several clients at the same time; the facts of each stream, summed over the clients that have it."""
    for load in loads:
        load.begin_mark(label)
    return merge_streams([load.end_mark() for load in loads])


def stop_all(loads: Sequence[Load]) -> dict[str, Report]:
    """Stop several clients at the same time; the report of each stream, over the clients that have it."""
    reports: dict[str, list[Report]] = {}
    for load in loads:
        load.begin_stop()
    for load in loads:
        for name, report in load.end_stop().items():
            reports.setdefault(name, []).append(report)
    return {name: merge_reports(each) for name, each in reports.items()}


def series_of(loads: Sequence[Load], since: int = 0) -> list[Sample]:
    """`Load.series` summed over several clients."""
    return merge_samples(load.series(since) for load in loads)


def total_report(reports: Mapping[str, Report]) -> Report:
    """The report of all streams together; they were marked alike."""
    return merge_reports([*reports.values()])
