"""The speaker with the real ExaBGP and relay, towards routers small enough to need no namespace and no root."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from bgp.exabgp_conf import PeerConfig, SpeakerConfig
from bgp.process import Identity, Process, load_identity, save_identity, start_ticks
from bgp.report import Event
from bgp.route import GRACEFUL_SHUTDOWN, Prefix, Route
from bgp.speaker import Speaker
from tests.bgp.conftest import announcer_user
from tests.bgp.router import Learned, Router

pytestmark = pytest.mark.process

VIP, OTHER = IPv4Network("203.0.113.10/32"), IPv4Network("203.0.113.11/32")
VIP6 = IPv6Network("2001:db8:1::10/128")


def gshut(prefix: Prefix) -> Route:
    return Route(prefix, communities=(GRACEFUL_SHUTDOWN,))


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A directory that the announcer's account can reach, which pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="fh-bgp-"))
    directory.chmod(0o755)
    yield directory / "bgp"
    left = load_identity(directory / "bgp" / "exabgp.pid")
    process = Process.adopt(left) if left else None
    if process is not None:  # by a test that failed half-way
        process.signal(signal.SIGKILL)
        process.reap()
    shutil.rmtree(directory)


class Bench:
    """Two routers and a node's announcer with a beating heart."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.routers = [Router("127.0.77.1", 65101), Router("127.0.77.2", 65102)]
        self.events: list[Event] = []
        self.beating = True

    def speaker(self, lease: float = 2.0, prefixes: tuple[Prefix, ...] = (VIP, VIP6, OTHER)) -> Speaker:
        local = IPv4Address("127.0.77.9")
        peers = tuple(
            PeerConfig(
                f"r{n}",
                IPv4Address(router.address),
                router.asn,
                local,
                port=router.port,
                local_address6=IPv6Address(f"fd00:77::{n}"),
            )
            for n, router in enumerate(self.routers, 1)
        )
        config = SpeakerConfig(65110, local, peers, prefixes, lease=lease, user=announcer_user())
        return Speaker(config, self.run_dir, self.events.append)

    @contextlib.asynccontextmanager
    async def running(self, lease: float = 2.0) -> AsyncIterator[Speaker]:
        for router in self.routers:
            await router.start()
        speaker = self.speaker(lease)
        await speaker.start()
        beat = asyncio.create_task(self.beat(speaker))
        try:
            await self.until(lambda: all(router.established for router in self.routers), 10)
            yield speaker
        finally:
            beat.cancel()
            await speaker.stop()
            for router in self.routers:
                await router.stop()

    async def beat(self, speaker: Speaker) -> None:
        while True:
            if self.beating:
                speaker.heartbeat()
            await asyncio.sleep(0.05)

    async def until(self, what: Callable[[], object], limit: float) -> float:
        began = time.monotonic()
        while not what():
            assert time.monotonic() - began < limit, f"not within {limit} s; events: {self.events}"
            await asyncio.sleep(0.01)
        return time.monotonic() - began

    def tables(self) -> list[dict[Prefix, tuple[str, ...]]]:
        return [{p: learned.communities for p, learned in router.table.items()} for router in self.routers]


def play(bench: Bench, story: Callable[[Speaker], Coroutine[None, None, None]], lease: float = 2.0) -> None:
    async def main() -> None:
        async with bench.running(lease) as speaker:
            await story(speaker)

    asyncio.run(main())


@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_quick_changes_of_mind_end_where_the_last_one_was(run_dir: Path, vip: Prefix) -> None:
    bench = Bench(run_dir)
    dice = random.Random(7)

    async def story(speaker: Speaker) -> None:
        for _ in range(15):
            for _ in range(dice.randint(2, 6)):
                route = dice.choice([None, Route(vip), gshut(vip), Route(vip, med=50)])
                speaker.declare({vip: route, OTHER: dice.choice([None, Route(OTHER)])})
                await asyncio.sleep(dice.choice([0, 0.0005, 0.003, 0.02]))
            last = dice.choice([None, None, gshut(vip), Route(vip)])
            speaker.declare({vip: last})
            assert await speaker.applied(3)
            expected = {} if last is None else {vip: last.communities}
            await bench.until(lambda want=expected: bench.tables() == [want, want], 1)  # type: ignore[misc]
            await asyncio.sleep(0.05)
            assert bench.tables() == [expected, expected]

    play(bench, story)


def test_many_vips_that_change_their_minds_together_share_commands_and_end_right(run_dir: Path) -> None:
    bench = Bench(run_dir)
    dice = random.Random(11)
    many: list[Prefix] = [IPv4Network(f"203.0.113.{n}/32") for n in range(100, 120)]
    many += [IPv6Network(f"2001:db8:1::{n}/128") for n in range(100, 120)]

    async def story(speaker: Speaker) -> None:
        for _ in range(10):
            for _ in range(dice.randint(2, 5)):
                said = dice.choice([None, (), (GRACEFUL_SHUTDOWN,), ("65110:7",)])
                some = dice.sample(many, dice.choice([10, 30, 40]))
                speaker.declare({p: None if said is None else Route(p, communities=said) for p in some})
                await asyncio.sleep(dice.choice([0, 0.0005, 0.003, 0.02]))
            last = {p: dice.choice([(), (GRACEFUL_SHUTDOWN,)]) for p in dice.sample(many, 20)}
            speaker.declare({p: Route(p, communities=said) for p, said in last.items()})
            assert await speaker.applied(5)
            await bench.until(lambda want=last: bench.tables() == [want, want], 2)  # type: ignore[misc]
            await asyncio.sleep(0.05)
            assert bench.tables() == [last, last]

    play(bench, story)


@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_a_router_that_returns_is_not_told_what_was_withdrawn_meanwhile(run_dir: Path, vip: Prefix) -> None:
    bench = Bench(run_dir)

    async def story(speaker: Speaker) -> None:
        away, other = bench.routers
        speaker.declare({vip: Route(vip)})
        await bench.until(lambda: vip in away.table and vip in other.table, 3)
        await away.stop()
        for route in (None, Route(vip), gshut(vip), None):
            speaker.declare({vip: route, OTHER: Route(OTHER)})
            assert await speaker.applied(3)
        await away.start()
        await bench.until(lambda: OTHER in away.table, 10)
        await asyncio.sleep(0.3)
        assert bench.tables() == [{OTHER: ()}, {OTHER: ()}]

    play(bench, story)


def test_a_router_that_reads_nothing_keeps_no_other_from_being_told(run_dir: Path) -> None:
    bench = Bench(run_dir)

    async def story(speaker: Speaker) -> None:
        deaf, other = bench.routers
        speaker.declare({VIP: Route(VIP)})
        await bench.until(lambda: VIP in deaf.table and VIP in other.table, 3)
        deaf.deaf(True)
        for n in range(20):
            speaker.declare({VIP: None if n % 2 == 0 else Route(VIP), OTHER: Route(OTHER, med=n)})
            assert await speaker.applied(2)
            await bench.until(lambda n=n: other.table.get(OTHER) == Learned(n, ()), 2)  # type: ignore[misc]
        assert VIP in deaf.table and OTHER not in deaf.table, "it read: this test tests nothing"
        deaf.deaf(False)
        await bench.until(lambda: deaf.table == other.table, 15)

    play(bench, story)


def test_each_router_gets_its_own_next_hop_for_an_ipv6_prefix(run_dir: Path) -> None:
    bench = Bench(run_dir)

    async def story(speaker: Speaker) -> None:
        speaker.declare({VIP6: Route(VIP6, med=7)})
        assert await speaker.applied(3)
        await bench.until(lambda: bench.tables() == [{VIP6: ()}, {VIP6: ()}], 1)
        learned = [router.table[VIP6] for router in bench.routers]
        assert learned == [Learned(7, (), IPv6Address(f"fd00:77::{n}")) for n in (1, 2)]
        await bench.routers[1].stop()
        await bench.routers[1].start()
        await bench.until(lambda: bench.routers[1].table.get(VIP6) == learned[1], 10)

    play(bench, story)


@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_the_snapshot_tells_sessions_prefixes_and_processes(run_dir: Path, vip: Prefix) -> None:
    bench = Bench(run_dir)

    async def story(speaker: Speaker) -> None:
        speaker.declare({vip: gshut(vip)})
        assert await speaker.applied(3)
        state = speaker.state()
        assert (state.phase.value, state.deaths, state.converged) == ("running", 0, True)
        assert state.prefixes[vip].applied and state.prefixes[vip].acked == gshut(vip)
        assert state.prefixes[OTHER].applied and state.prefixes[OTHER].wanted is None
        assert [(peer.name, peer.asn, peer.up) for peer in state.peers] == [("r1", 65101, True), ("r2", 65102, True)]
        await bench.routers[0].stop()
        await bench.until(lambda: [peer.up for peer in speaker.state().peers] == [False, True], 3)
        assert Event("peer r1", "up", "down", speaker.state().peers[0].reason) in bench.events

    play(bench, story)


@pytest.mark.calm
@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_a_hung_work_loop_loses_its_leases_although_the_loop_of_asyncio_runs(run_dir: Path, vip: Prefix) -> None:
    bench = Bench(run_dir)

    async def story(speaker: Speaker) -> None:
        speaker.declare({vip: Route(vip)})
        await bench.until(lambda: bench.tables() == [{vip: ()}, {vip: ()}], 3)
        bench.beating = False
        await bench.until(lambda: bench.tables() == [{}, {}], 1.5)
        pid = speaker.state().relay_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)  # a relay that comes back must not get a lease from a hung loop
        await bench.until(lambda: speaker.state().relay_pid not in (None, pid), 5)
        await asyncio.sleep(0.5)
        assert bench.tables() == [{}, {}]
        bench.beating = True
        await bench.until(lambda: bench.tables() == [{vip: ()}, {vip: ()}], 3)

    play(bench, story, lease=0.6)


def test_a_hand_over_keeps_what_is_under_a_lease_and_nothing_else(run_dir: Path) -> None:
    bench = Bench(run_dir)

    async def story(speaker: Speaker) -> None:
        speaker.declare({VIP: Route(VIP), OTHER: Route(OTHER)})
        await bench.until(lambda: bench.tables() == [{VIP: (), OTHER: ()}] * 2, 15)
        bench.beating = False
        while bench.tables() != [{VIP: ()}] * 2:  # nobody vouches for OTHER, whose lease ends
            speaker.heartbeat([VIP])
            await asyncio.sleep(0.1)
        await speaker.stop(withdraw=False)
        await asyncio.sleep(2.5)  # more than two leases
        assert bench.tables() == [{VIP: ()}] * 2
        second = bench.speaker(lease=1.0)
        await second.start()
        await second.stop()

    play(bench, story, lease=1.0)


def test_an_exabgp_with_another_configuration_is_ended_and_not_adopted(run_dir: Path) -> None:
    bench = Bench(run_dir)

    async def main() -> None:
        for router in bench.routers:
            await router.start()
        first = bench.speaker()
        await first.start()
        first.declare({VIP: Route(VIP)})
        beat = asyncio.create_task(bench.beat(first))
        await bench.until(lambda: bench.tables() == [{VIP: ()}, {VIP: ()}], 10)
        beat.cancel()
        old = first.state().exabgp_pid
        assert old is not None
        await first.stop(withdraw=False)
        assert start_ticks(old) is not None and bench.tables() == [{VIP: ()}, {VIP: ()}]
        second = bench.speaker(prefixes=(VIP,))
        await second.start()
        assert start_ticks(old) is None and second.state().exabgp_pid != old
        await second.stop()
        for router in bench.routers:
            await router.stop()

    asyncio.run(main())


def test_a_new_prefix_resets_no_session_and_is_known_to_the_next_relay(run_dir: Path) -> None:
    bench = Bench(run_dir)
    new = IPv4Network("203.0.113.12/32")

    async def story(speaker: Speaker) -> None:
        speaker.declare({VIP: Route(VIP)})
        assert await speaker.applied(3)
        sessions = [router.sessions for router in bench.routers]
        speaker.reconfigure(bench.speaker(prefixes=(VIP, new)).config)
        speaker.declare({VIP: Route(VIP), new: Route(new)})
        await bench.until(lambda: bench.tables() == [{VIP: (), new: ()}] * 2, 3)
        assert [router.sessions for router in bench.routers] == sessions
        before = speaker.state()
        assert before.relay_pid is not None
        await asyncio.sleep(0.5)  # ExaBGP reads its configuration between two turns
        await speaker.stop(withdraw=False)
        os.kill(before.relay_pid, signal.SIGKILL)
        await bench.until(lambda: bench.tables() == [{}, {}], 3)
        second = bench.speaker(prefixes=(VIP, new))
        await second.start()
        assert second.state().exabgp_pid == before.exabgp_pid, "the new configuration was not noted for adoption"
        await second.stop()

    play(bench, story)


def test_a_process_that_only_has_the_number_of_an_earlier_one_is_left_alone(run_dir: Path) -> None:
    bench = Bench(run_dir)
    run_dir.mkdir()
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    save_identity(run_dir / "exabgp.pid", Identity(os.getpid(), ticks - 1, "of another machine's life"))

    async def story(speaker: Speaker) -> None:
        identity = load_identity(run_dir / "exabgp.pid")
        assert identity is not None and identity.pid == speaker.state().exabgp_pid != os.getpid()

    play(bench, story)


def test_what_keeps_exabgp_from_starting_is_in_the_reason(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(run_dir)
    monkeypatch.setattr("sys.executable", "/nonexistent/python")

    async def main() -> None:
        for router in bench.routers:
            await router.start()
        speaker = bench.speaker()
        await speaker.start()
        await bench.until(lambda: speaker.state().deaths > 0, 5)
        await speaker.stop()
        for router in bench.routers:
            await router.stop()

    asyncio.run(main())
    assert any("/nonexistent/python" in event.reason for event in bench.events), bench.events


def test_a_stranger_on_the_relay_s_socket_is_hung_up_on(run_dir: Path) -> None:
    bench = Bench(run_dir)

    async def story(speaker: Speaker) -> None:
        speaker.declare({VIP: Route(VIP)})
        assert await speaker.applied(3)
        seen = len(bench.events)
        reader, writer = await asyncio.open_unix_connection(str(run_dir / "relay.sock"))
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(100), 2) == b""
        writer.close()
        assert bench.events[seen:] == []

    play(bench, story)
