"""The control socket: answers, refusals, babble, permissions."""

import asyncio
import json
import os
import socket
import stat
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge.control.ask import RefusedError, UnreachableError, ask, follow
from edge.control.server import MAX_STREAMS, ControlServer, Row, Stream


async def _echo(request: Mapping[str, Any], uid: int) -> dict[str, Any]:
    return {"said": request.get("word"), "uid": uid}


async def _fail(_: Mapping[str, Any], __: int) -> dict[str, Any]:
    raise KeyError("a fault of ours")


async def _refuse(_: Mapping[str, Any], __: int) -> dict[str, Any]:
    raise RefusedError("a guard says no", 5)


def exchange(path: Path, call: Any) -> Any:
    """Run `call` in a thread while a server answers on `path`."""

    async def both() -> Any:
        server = ControlServer(path, {"echo": _echo, "refuse": _refuse, "fail": _fail})
        await server.start()
        try:
            return await asyncio.to_thread(call)
        finally:
            await server.stop()

    return asyncio.run(both())


def test_a_request_is_answered_with_the_uid_from_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    answer = exchange(path, lambda: ask(str(path), "echo", word="hello", uid=4242))
    assert answer == {"said": "hello", "uid": os.getuid()}


def test_a_refusal_carries_its_words_and_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with pytest.raises(RefusedError, match="a guard says no") as caught:
        exchange(path, lambda: ask(str(path), "refuse"))
    assert caught.value.code == 5


def test_a_fault_of_the_daemon_is_answered_and_not_fatal(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with pytest.raises(RefusedError, match="a fault of ours") as caught:
        exchange(path, lambda: ask(str(path), "fail"))
    assert caught.value.code == 1


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b'{"verb": 5}\n', b'{"verb": "no"}\n', b"\xff\xfe\n"])
def test_babble_is_told_the_verbs(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "control.sock"

    def babble() -> Any:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(line)
            return json.loads(connection.makefile().readline())

    answer = exchange(path, babble)
    assert not answer["ok"]
    assert "echo, fail, refuse" in answer["error"]


def test_a_client_that_says_nothing_delays_nobody(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    def stalled() -> Any:
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(path))
            return ask(str(path), "echo", word="next")

    assert exchange(path, stalled)["said"] == "next"


def test_the_socket_is_for_owner_and_group_only_and_gone_after_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control.sock"
    mode = exchange(path, lambda: stat.S_IMODE(path.stat().st_mode))
    assert mode == 0o660
    assert not path.exists()


def test_a_socket_left_by_a_killed_daemon_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert exchange(path, lambda: ask(str(path), "echo", word="x"))["said"] == "x"


def test_no_daemon_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="is `fairhop run` up"):
        ask(str(tmp_path / "none.sock"), "status")


class _Counting:
    """A stream of numbers; `told` is how far it has come, `closed` whether it was ended properly."""

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.told = 0
        self.closed = False

    async def begin(self, _: Mapping[str, Any], __: int) -> Stream:
        return Stream({"from": 0}, self.rows())

    async def rows(self) -> AsyncGenerator[Row, None]:
        try:
            while True:
                self.told += 1
                yield {"n": self.told, "fill": "x" * 1000}
                await asyncio.sleep(self.pause)
        finally:
            self.closed = True


def streaming(path: Path, counting: _Counting, call: Any) -> Any:
    async def both() -> Any:
        server = ControlServer(path, {"echo": _echo, "count": counting.begin})
        await server.start()
        try:
            return await asyncio.to_thread(call)
        finally:
            await server.stop()

    return asyncio.run(both())


def test_a_stream_goes_on_after_its_answer_and_ends_with_its_client(tmp_path: Path) -> None:
    path, counting = tmp_path / "control.sock", _Counting(0.001)

    def read() -> None:
        rows = follow(str(path), "count")
        assert next(rows) == {"from": 0}
        assert [next(rows)["n"] for _ in range(5)] == [1, 2, 3, 4, 5]
        rows.close()
        deadline = time.monotonic() + 5
        while not counting.closed:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    streaming(path, counting, read)


def test_a_client_that_does_not_read_its_stream_stops_nothing_but_its_stream(tmp_path: Path) -> None:
    path, counting = tmp_path / "control.sock", _Counting(0)

    def stall() -> None:
        rows = follow(str(path), "count")
        next(rows)
        before = -1
        while before != counting.told:  # until all buffers are full
            before = counting.told
            time.sleep(0.2)
        assert before < 5000
        began = time.monotonic()
        assert ask(str(path), "echo", word="next")["said"] == "next"
        assert time.monotonic() - began < 2
        rows.close()

    streaming(path, counting, stall)
    assert counting.closed


def test_the_end_of_the_daemon_ends_a_stream_and_the_client_is_told(tmp_path: Path) -> None:
    path, counting = tmp_path / "control.sock", _Counting(0.001)

    async def story() -> None:
        server = ControlServer(path, {"count": counting.begin})
        await server.start()
        rows = follow(str(path), "count")
        await asyncio.to_thread(next, rows)
        await server.stop()
        with pytest.raises(UnreachableError, match="the daemon ended the stream"):
            await asyncio.to_thread(list, rows)

    asyncio.run(story())
    assert counting.closed


def test_there_is_a_most_of_streams(tmp_path: Path) -> None:
    path, counting = tmp_path / "control.sock", _Counting(0.05)

    def crowd() -> None:
        followers = [follow(str(path), "count") for _ in range(MAX_STREAMS)]
        for rows in followers:
            next(rows)
            next(rows)
        with pytest.raises(RefusedError, match="clients follow already") as caught:
            next(follow(str(path), "count"))
        assert caught.value.code == 5
        for rows in followers:
            rows.close()

    streaming(path, counting, crowd)
