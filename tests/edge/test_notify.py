"""What systemd is told, over a real datagram socket."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.daemon.notify import Notifier


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def heard(listener: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(listener.recv(4096).decode())
        except BlockingIOError:
            return found


def test_a_state_is_sent_once_and_every_beat(systemd: socket.socket) -> None:
    notifier = Notifier()
    for _ in range(3):
        notifier.say("READY=1")
        notifier.beat()
    notifier.say("STOPPING=1")
    assert heard(systemd) == ["READY=1", *["WATCHDOG=1"] * 3, "STOPPING=1"]


def test_a_ready_that_was_lost_is_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    notifier = Notifier()
    notifier.say("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(path))
        notifier.say("READY=1")
        notifier.say("READY=1")
        assert heard(listener) == ["READY=1"]


def test_a_full_queue_is_not_waited_for(systemd: socket.socket) -> None:
    notifier = Notifier()
    for _ in range(5000):
        notifier.beat()
    notifier.say("READY=1")
    queued = heard(systemd)
    assert 0 < len(queued) < 5000
    assert "READY=1" not in queued
    notifier.say("READY=1")
    assert heard(systemd) == ["READY=1"]


def test_an_abstract_address_is_understood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = f"fairhop-test{tmp_path}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(f"\0{name}")
        Notifier().say("READY=1")
        assert heard(listener) == ["READY=1"]


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    notifier.say("READY=1")
    notifier.beat()
