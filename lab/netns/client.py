"""The tool's end of its guardian: requests out, answers in, from any thread."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any

from lab.netns.spec import NodeSpec
from lab.netns.state import LabRecord
from lab.runtime import LabError

_PATIENCE = 30.0
_LAST = -1


class GuardianClient:
    """Starts a guardian for one lab; `existed` tells whether the lab was there before. Raises `LabError` if refused."""

    def __init__(self, record: LabRecord, sysctls: Mapping[str, Mapping[str, str]]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.netns.guardian", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._write_lock = threading.Lock()
        self._waiting: dict[int, SimpleQueue[dict[str, Any]]] = {}
        self._next = 1
        self._gone = False
        self._reader = threading.Thread(target=self._read, name="guardian", daemon=True)
        self._reader.start()
        try:
            self.existed = bool(self._ask(0, {"op": "open", "record": asdict(record), "sysctls": sysctls})["existed"])
        except BaseException:
            self.close()
            raise

    def start(self, spec: NodeSpec) -> int:
        """Start a node; returns the pid of its PID 1 once its command runs. Raises `LabError` with the reason."""
        with self._write_lock:
            number = self._next
            self._next += 1
        try:
            return int(self._ask(number, {"op": "start", "spec": spec.to_json()})["pid"])
        except LabError as error:
            raise LabError(f"node {spec.name} does not start: {error}") from None

    def keep(self) -> None:
        """Let the lab outlive this tool."""
        self._ask(_LAST, {"op": "keep"})
        self.close()

    def destroy(self) -> None:
        """Remove the lab; returns when nothing is left."""
        self._ask(_LAST, {"op": "destroy"})
        self.close()

    def close(self) -> None:
        """End the guardian: unless the lab is kept, it removes the lab first."""
        assert self._process.stdin and self._process.stdout
        with self._write_lock:
            if not self._process.stdin.closed:
                self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise LabError(f"the lab's guardian, process {self._process.pid}, does not come to an end") from None
        self._reader.join()
        self._process.stdout.close()

    def _ask(self, number: int, request: dict[str, Any]) -> dict[str, Any]:
        answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        with self._write_lock:
            if self._gone or not self._process.stdin or self._process.stdin.closed:
                raise LabError("the lab's guardian is gone, and the lab with it")
            self._waiting[number] = answers
            self._process.stdin.write(json.dumps({**request, "id": number}).encode() + b"\n")
            self._process.stdin.flush()
        answer = answers.get()
        if "error" in answer:
            raise LabError(answer["error"])
        return answer

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            answer = json.loads(line)
            waiting = self._waiting.pop(answer["id"], None)
            if waiting:
                waiting.put(answer)
        with self._write_lock:
            self._gone = True
            for waiting in self._waiting.values():
                waiting.put({"error": "the lab's guardian died"})
