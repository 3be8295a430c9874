"""Writes log lines without ever making the caller wait: a thread of its own, and a buffer with an end.

The stream may be a pipe that nobody reads or a disk that hangs. Only the thread waits for it; lines that do not fit
into the buffer are counted, and the count is written when the stream takes lines again.
"""

import atexit
import os
import threading
import weakref
from collections import deque
from typing import Final, TextIO

BUFFER: Final = 256 * 1024
"""Bytes of lines that may wait."""
LAST_WORDS: Final = 0.5
"""Seconds that the end of the process waits for lines that are still in the buffer."""


class LogSink:
    """Lines to the file behind `stream`. A stream without a file (a test's) is written at once, by the caller."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._fd = _descriptor(stream)
        self._lines: deque[bytes] = deque()
        self._waiting = 0  # bytes, with the line that is being written
        self._lost = self._lost_untold = 0
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def lost(self) -> int:
        """Lines that were never written."""
        return self._lost

    def write(self, line: str) -> None:
        """Queue one line, given without its end. Never blocks and never raises."""
        if self._fd is None:
            self._write_at_once(line)
            return
        data = line.encode(errors="backslashreplace") + b"\n"
        with self._turn:
            if self._waiting + len(data) > BUFFER:
                self._lost += 1
                self._lost_untold += 1
                return
            self._queue(self._note() + data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(self._fd,), name="log", daemon=True)
                self._thread.start()
                atexit.register(_flush, weakref.ref(self))
            self._turn.notify()

    def flush(self, limit: float) -> bool:
        """Wait until all is written, at most `limit` seconds; False if it is not."""
        with self._turn:
            return self._turn.wait_for(lambda: not self._waiting, limit)

    def _write_at_once(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._lost += 1

    def _queue(self, data: bytes) -> None:
        self._lines.append(data)
        self._waiting += len(data)

    def _note(self) -> bytes:
        """What to write where lines are missing; once."""
        lost, self._lost_untold = self._lost_untold, 0
        return f"log: {lost} line(s) were lost here, because nobody read them\n".encode() if lost else b""

    def _run(self, fd: int) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: bool(self._lines))
                data = self._lines.popleft()
            written = _write_all(fd, data)
            with self._turn:
                self._lost += not written
                self._waiting -= len(data)
                if not self._lines and (note := self._note()):
                    self._queue(note)
                self._turn.notify_all()


def _write_all(fd: int, data: bytes) -> bool:
    # The descriptor itself: a thread that ends inside Python's buffered stderr would take the interpreter with it.
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        return False
    return True


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _flush(sink: "weakref.ref[LogSink]") -> None:
    if (alive := sink()) is not None:
        alive.flush(LAST_WORDS)
