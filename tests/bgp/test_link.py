"""The daemon's end of a relay's connection: it knows who calls, and can end it."""

import asyncio
import signal
import sys
from pathlib import Path

from bgp.link import RelayLink
from bgp.wire import State, encode_state

CALLER = "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); time.sleep(60)"


class Owner:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.links: list[RelayLink] = []
        self.said: list[State] = []
        self.lost: list[RelayLink] = []
        self.happened = asyncio.Event()

    def relay_connected(self, link: RelayLink) -> bool:
        self.links.append(link)
        self.happened.set()
        return True

    def relay_said(self, link: RelayLink, state: State) -> None:
        self.said.append(state)

    def relay_lost(self, link: RelayLink) -> None:
        self.lost.append(link)
        self.happened.set()


def test_a_relay_that_only_hangs_can_be_killed(tmp_path: Path) -> None:
    async def main() -> None:
        owner, path = Owner(), str(tmp_path / "socket")
        server = await asyncio.get_running_loop().create_unix_server(lambda: RelayLink(owner), path)
        caller = await asyncio.create_subprocess_exec(sys.executable, "-c", CALLER, path)
        await asyncio.wait_for(owner.happened.wait(), 5)
        assert owner.links[0].pid == caller.pid
        owner.links[0].kill()
        assert await asyncio.wait_for(caller.wait(), 5) == -signal.SIGKILL
        server.close()

    asyncio.run(main())


def test_a_caller_that_does_not_speak_the_protocol_is_hung_up_on(tmp_path: Path) -> None:
    async def main() -> None:
        owner, path = Owner(), str(tmp_path / "socket")
        server = await asyncio.get_running_loop().create_unix_server(lambda: RelayLink(owner), path)
        reader, writer = await asyncio.open_unix_connection(path)
        state = State(1, True, None, {}, {})
        writer.write(encode_state(state) + b"babble\n" + encode_state(state))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert (owner.said, owner.lost) == ([state], owner.links)
        writer.close()
        server.close()

    asyncio.run(main())
