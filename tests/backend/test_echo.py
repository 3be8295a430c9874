"""The echo service over real sockets: lines, datagrams, and the address an answer comes from."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.backend.echo import Echo
from tests.datapath.kernel import Namespace

PORT = 17000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.asynccontextmanager
async def serving(host: str = "127.0.0.1") -> AsyncIterator[int]:
    port = free_port()
    async with Echo("b1", port, host):
        yield port


async def ask_udp(port: int, data: bytes, to: str, source: str = "127.0.0.1") -> tuple[bytes, str]:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.bind((source, 0))
        client.sendto(data, (to, port))
        answer, sender = await asyncio.wait_for(loop.sock_recvfrom(client, 2048), 2)
    return answer, str(sender[0])


def test_each_tcp_line_comes_back_behind_the_name() -> None:
    async def main() -> None:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello\nworld\r\n\nunfinished")
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 2) == b"b1 hello\nb1 world\nb1 \nb1 unfinished\n"
            writer.close()

    asyncio.run(main())


def test_a_line_without_end_is_cut_off_and_others_go_on() -> None:
    async def main() -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with serving() as port:
            other_reader, other = await asyncio.open_connection("127.0.0.1", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionError):
                writer.write(b"x" * 300_000)
                assert await asyncio.wait_for(reader.read(), 2) == b""
            other.write(b"still here\n")
            assert await asyncio.wait_for(other_reader.readline(), 2) == b"b1 still here\n"
            for each in (writer, other):
                each.close()
        del reader, writer, other_reader, other
        await asyncio.sleep(0)
        gc.collect()  # an exception that nobody fetched is told when its task is collected
        assert faults == []

    asyncio.run(main())


def test_open_connections_end_with_the_service() -> None:
    async def main() -> None:
        port = free_port()
        async with Echo("b1", port, "127.0.0.1"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x\n")
            await reader.readline()
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()
        async with Echo("b1", port, "127.0.0.1"):
            pass

    asyncio.run(main())


def test_each_datagram_comes_back_behind_the_name() -> None:
    async def main() -> None:
        async with serving() as port:
            assert await ask_udp(port, b"hello\n", "127.0.0.1") == (b"b1 hello\n", "127.0.0.1")
            assert await ask_udp(port, b"", "127.0.0.1") == (b"b1 \n", "127.0.0.1")

    asyncio.run(main())


def test_a_datagram_is_answered_from_the_address_that_was_asked() -> None:
    async def main() -> None:
        async with serving("0.0.0.0") as port:
            for vip in ("127.0.0.10", "127.0.0.11"):
                assert await ask_udp(port, b"who", vip) == (b"b1 who\n", vip)

    asyncio.run(main())


def test_a_burst_of_datagrams_is_answered_whole() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with serving() as port:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                for number in range(200):
                    client.sendto(b"%d" % number, ("127.0.0.1", port))
                answers = [await asyncio.wait_for(loop.sock_recv(client, 100), 2) for _ in range(200)]
        assert answers == [b"b1 %d\n" % number for number in range(200)]

    asyncio.run(main())


def test_what_arrives_while_the_loop_is_busy_waits_and_is_answered() -> None:
    async def main() -> list[bytes]:
        loop = asyncio.get_running_loop()
        async with serving() as port:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                for number in range(1500):  # nothing is read between two of them; the kernel's default holds 256
                    client.sendto(b"%d" % number, ("127.0.0.1", port))
                return [await asyncio.wait_for(loop.sock_recv(client, 100), 2) for _ in range(1500)]

    assert asyncio.run(main()) == [b"b1 %d\n" % number for number in range(1500)]


def test_a_port_in_use_is_an_error_and_leaves_no_socket() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            before = len(list(Path("/proc/self/fd").iterdir()))
            with pytest.raises(OSError, match="address already in use"):
                await Echo("b1", taken.getsockname()[1], "127.0.0.1").__aenter__()
            assert len(list(Path("/proc/self/fd").iterdir())) == before

    asyncio.run(main())


@pytest.mark.kernel
def test_both_families_are_served_and_an_answer_leaves_with_the_ipv6_address_that_was_asked() -> None:
    async def main(port: int) -> None:
        async with Echo("b1", port):
            for host in ("127.0.0.1", "::1", "2001:db8:1::10"):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(b"hello\n")
                assert await asyncio.wait_for(reader.readline(), 2) == b"b1 hello\n"
                writer.close()
            for vip in ("2001:db8:1::10", "2001:db8:1::11"):
                assert await ask_udp(port, b"x", vip, "::1") == (b"b1 x\n", vip)
            assert await ask_udp(port, b"x", "127.0.0.10") == (b"b1 x\n", "127.0.0.10")

    namespace = Namespace()
    try:
        for vip in ("2001:db8:1::10", "2001:db8:1::11"):
            namespace.ip("address", "add", f"{vip}/128", "dev", "lo")
        with namespace.inside():
            asyncio.run(main(7000))
    finally:
        namespace.delete()
