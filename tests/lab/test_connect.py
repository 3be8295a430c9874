"""Source ports of the lab's traffic: one that was used comes back last."""

import errno
import socket

import pytest

from lab.traffic import connect


def port_of(source: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET) as sock:
        port = connect.bind_source(sock, source)
        assert port == sock.getsockname()[1]
        return port


@pytest.mark.parametrize("source", ["127.0.0.1", "::1"])
def test_a_port_is_not_used_again_while_there_are_others(source: str) -> None:
    # The kernel's own choice comes back after about 2,700: it advances ten ports each time, and 28,232 are its own.
    ports = [port_of(source) for _ in range(10_000)]
    assert len(set(ports)) == len(ports)


def test_a_port_that_is_in_use_is_passed_over() -> None:
    first = port_of("127.0.0.1")
    if first + 2 not in connect._PORTS:
        first = port_of("127.0.0.1")  # one step on: the turn begins anew
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        assert port_of("127.0.0.1") == first + 2


def test_a_source_that_is_not_ours_is_an_error() -> None:
    with pytest.raises(OSError) as error:
        port_of("192.0.2.77")
    assert error.value.errno == errno.EADDRNOTAVAIL
