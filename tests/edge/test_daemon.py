"""The whole daemon over fakes: what it announces and when, what withdraws, and how it leaves."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Address, ip_network
from pathlib import Path
from typing import Protocol, Self

import pytest

from bgp.exabgp_conf import SpeakerConfig
from bgp.route import GRACEFUL_SHUTDOWN, Route
from edge.config import file as config
from edge.config.file import Check
from edge.control import ask
from edge.daemon import crank
from edge.daemon import daemon as module
from edge.daemon.daemon import Daemon, Places
from edge.datapath.addresses import network_of
from edge.datapath.blocklist import parse
from edge.datapath.bpf_error import BpfError, Step
from edge.datapath.model import IpAddress, NextHop
from edge.datapath.neighbours import Neighbours
from edge.datapath.pinned import Attachment
from edge.install import forwarding
from edge.policy.health import Result
from tests.edge.fakes import HOP, LOOPBACK, FakeChecking, FakeForwarder, FakeSpeaker, until
from tests.edge.test_config import GOOD
from tests.edge.test_plan import THREE

VIP = IPv4Network("203.0.113.10/32")
PLAIN, AVOID = Route(VIP), Route(VIP, communities=(GRACEFUL_SHUTDOWN,))
CHECK = "port: 80, interval: 0.01, timeout: 0.01, rise: 1, fall: 1, hold_down: 0, damping: false}"
TEXT = GOOD.replace("[{name: a-b1, address: 10.0.9.1}]", THREE).replace("port: 80}", CHECK, 1)
SETTLE = 0.05


class _Neighbours(Neighbours):
    """Every followed address is reached at once."""

    def __init__(self, on_change: Callable[[Mapping[IpAddress, NextHop | None]], None]) -> None:
        self.failure = None
        self._listener = on_change
        self._findings, self._only = {}, {}
        self.avoided: list[frozenset[IpAddress]] = []

    def avoid(self, gateways: Iterable[IpAddress]) -> None:
        self.avoided.append(frozenset(gateways))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def follow(self, addresses: Iterable[IpAddress]) -> None:
        asyncio.get_running_loop().call_soon(self._listener, dict.fromkeys(addresses, HOP))


class World:
    """What stands around one daemon."""

    def __init__(self, directory: Path) -> None:
        self.places = Places(directory / "f.yaml", directory / "control.sock", directory / "intent.json")
        self.places.config.write_text(TEXT + f"drain: {{settle: {SETTLE}}}\n")
        self.forwarder = FakeForwarder()
        self.speakers: list[FakeSpeaker] = []
        self.down: set[str] = set()
        self.answering = asyncio.Event()  # no check has a result before it
        self.daemon: Daemon

    @property
    def speaker(self) -> FakeSpeaker:
        return self.speakers[-1]

    def heard(self) -> list[Route | None]:
        """What was declared for the VIP, each time it changed."""
        routes = [said[VIP] for said in self.speaker.said]
        return [route for number, route in enumerate(routes) if number == 0 or route != routes[number - 1]]

    def make_speaker(self, settings: SpeakerConfig, run_dir: Path, on_change: object) -> FakeSpeaker:
        self.speakers.append(FakeSpeaker(settings, run_dir, on_change))
        return self.speakers[-1]

    async def probe(self, check: Check, address: IpAddress) -> Result:
        await self.answering.wait()
        return Result(f"b{address.packed[-1]}" not in self.down, "a result", 0.001)

    async def serving(self) -> None:
        self.answering.set()
        await until(lambda: bool(self.speaker.said) and self.speaker.said[-1][VIP] == PLAIN)

    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.daemon.events.last]


class Run(Protocol):
    """Have a talk with a running daemon, whose configuration `edit` changes before it starts."""

    def __call__(self, talk: Callable[[World], Awaitable[None]], edit: Callable[[str], str] = str) -> World: ...


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Have a talk with a running daemon; it is told to stop afterwards, twice, and must have ended within 2 s."""
    monkeypatch.setattr(crank, "LINGER", 0.03)
    monkeypatch.setattr(module, "_TURN", 0.01)
    monkeypatch.setattr(forwarding, "_RETRY", 0.01)
    monkeypatch.setattr(forwarding, "_LOOK_AGAIN", 0.01)
    monkeypatch.setattr(module, "Neighbours", _Neighbours)

    @contextlib.asynccontextmanager
    async def running(world: World) -> AsyncIterator[None]:
        monkeypatch.setattr(module, "_open_forwarder", lambda *_: world.forwarder)
        monkeypatch.setattr(module, "Speaker", world.make_speaker)
        monkeypatch.setattr(module, "Checking", lambda report, *_, **__: FakeChecking(report, world.probe))
        world.daemon = Daemon(config.load(world.places.config.read_text(), "f.yaml"), world.places)
        task = asyncio.create_task(world.daemon.run())
        # Before it catches signals, a TERM would end the test run.
        await until(lambda: signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL or task.done())
        try:
            yield
        finally:
            world.forwarder.gate.set()
            for _ in range(2):
                if not task.done():
                    os.kill(os.getpid(), signal.SIGTERM)
                    await asyncio.sleep(0.005)
            await asyncio.wait_for(task, 2)

    async def session(talk: Callable[[World], Awaitable[None]], edit: Callable[[str], str]) -> World:
        world, faults = World(tmp_path), list[object]()
        world.places.config.write_text(edit(world.places.config.read_text()))
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        async with running(world):
            await talk(world)
        assert faults == []
        return world

    return lambda talk, edit=str: asyncio.run(session(talk, edit))


def test_a_router_whose_bfd_goes_down_is_avoided_and_the_checks_keep_to_what_next_hops_say(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bfd, kept = {"a-r1": True, "a-r2": True}, list[Mapping[IpAddress, str]]()
    monkeypatch.setattr("edge.announcer.companions.Companions.up", lambda _: bfd)
    monkeypatch.setattr(FakeChecking, "keep_to", lambda _, only: kept.append(only))

    async def talk(world: World) -> None:
        await world.serving()
        neighbours = world.daemon._neighbours
        assert isinstance(neighbours, _Neighbours)
        assert {*neighbours.avoided} == {frozenset()}
        neighbours._only = {ip_network("10.0.9.1/32").network_address: "eth2"}
        bfd["a-r1"] = False
        await until(lambda: neighbours.avoided[-1] == {ip_network("10.0.5.0/32").network_address})
        await until(lambda: kept[-1] == {ip_network("10.0.9.1/32").network_address: "eth2"})
        bfd["a-r1"] = True
        await until(lambda: neighbours.avoided[-1] == frozenset())
        told = [(e["old"], e["new"]) for e in world.daemon.events.last if e["subject"] == "silent routers"]
        assert told == [("none", "a-r1"), ("a-r1", "none")]

    first = "local_address: 10.0.5.1}"
    other = ", {name: a-r2, address: 10.0.6.0, asn: 65102, local_address: 10.0.6.1}"
    run(talk, lambda text: text.replace(first, first + other))


def test_nothing_is_said_before_every_check_has_a_result_and_a_table_is_loaded(run: Run) -> None:
    async def talk(world: World) -> None:
        await asyncio.sleep(0.03)
        assert (world.speaker.said, world.forwarder.states) == ([], [])
        world.forwarder.gate.clear()
        world.answering.set()
        await until(world.forwarder.entered.is_set)
        await asyncio.sleep(0.03)
        assert (world.speaker.said, world.speaker.beats) == ([], 0)
        world.forwarder.gate.set()
        await until(lambda: bool(world.speaker.said))
        assert world.speaker.said == [{VIP: PLAIN}]

    run(talk)


def test_vips_of_both_families_and_prefixes_are_announced_as_they_are_and_answer_echo(run: Run) -> None:
    vips = "[203.0.113.10, '2001:db8:1::10', 203.0.113.128/25, '2001:db8:2::/48']"
    prefixes = [VIP, *map(ip_network, ("203.0.113.128/25", "2001:db8:1::10/128", "2001:db8:2::/48"))]

    async def talk(world: World) -> None:
        await world.serving()
        assert world.speaker.said[-1] == {prefix: Route(prefix) for prefix in prefixes}
        await until(lambda: {network_of(vip) for vip in world.forwarder.states[-1].echo_vips} == set(prefixes))
        assert [event["subject"] for event in world.daemon.events.last if event["new"] == "announced"] == [
            "vip 203.0.113.10",
            "vip 203.0.113.128/25",
            "vip 2001:db8:1::10",
            "vip 2001:db8:2::/48",
        ]
        (peer,) = world.speaker.config.peers
        assert (peer.local_address6, world.speaker.config.prefixes) == (IPv6Address("fd00:5::1"), tuple(prefixes))

    own = "local_address: 10.0.5.1"
    run(talk, lambda text: text.replace("[203.0.113.10]", vips).replace(own, own + ", local_address6: fd00:5::1"))


def test_what_stands_is_declared_once_and_then_only_kept_alive(run: Run) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        await until(lambda: world.speaker.beats >= 3)
        assert world.speaker.said == [{VIP: PLAIN}]

    run(talk)


def test_ready_is_told_to_systemd_with_the_first_declaration(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("edge.daemon.crank.Notifier.say", lambda self, state: told.append(state))

    async def talk(world: World) -> None:
        await asyncio.sleep(0.03)
        assert told == []
        await world.serving()
        await until(lambda: told[:1] == ["READY=1"])

    run(talk)
    assert told[-1] == "STOPPING=1"


def test_a_vip_answers_echo_only_while_it_is_announced(run: Run) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        await until(lambda: world.forwarder.states[-1].echo_vips == {VIP.network_address})
        world.forwarder.found = (Attachment("lo", 1, None, False, "no such device"),)
        await until(lambda: not world.forwarder.states[-1].echo_vips)

    run(talk)


def test_an_interface_that_is_lost_withdraws_until_it_is_back(run: Run) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        world.forwarder.found = (Attachment("lo", 1, None, False, "no such device"),)
        await until(lambda: world.heard() == [PLAIN, None])
        assert world.daemon.node.fault == "not attached to lo: no such device"
        world.forwarder.found = (LOOPBACK,)
        await until(lambda: world.heard() == [PLAIN, None, PLAIN])

    run(talk)


def test_a_kernel_that_refuses_withdraws_until_it_takes_the_change(run: Run) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        world.forwarder.refusals += [BpfError(Step.MAP, "write the directory", 12)] * 5
        world.down.add("b1")
        await until(lambda: world.heard() == [PLAIN, None, PLAIN])
        assert 1 not in world.forwarder.states[-1].pools[0].slots

    run(talk)


def test_a_forwarder_that_hangs_withdraws_when_its_tables_are_stale(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crank, "STALE", 0.05)

    async def talk(world: World) -> None:
        await world.serving()
        await until(lambda: world.daemon.forwarding.current)
        world.forwarder.gate.clear()
        world.down.add("b1")
        await until(lambda: world.heard() == [PLAIN, None])
        assert "has not taken a change" in world.daemon.node.fault
        world.forwarder.gate.set()
        await until(lambda: world.heard() == [PLAIN, None, PLAIN])

    run(talk)


def test_next_hops_that_nobody_follows_any_more_withdraw(run: Run) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        world.daemon._neighbours.failure = OSError("the socket is gone")
        await until(lambda: world.heard() == [PLAIN, None])

    run(talk)


def test_backends_that_all_look_down_cost_preference_only(run: Run) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        world.down |= {"b1", "b2", "b3"}
        await until(lambda: world.heard() == [PLAIN, AVOID])

    run(talk)


def test_a_drain_over_the_socket_prefers_others_then_withdraws_and_an_undrain_announces(run: Run) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        await asyncio.to_thread(ask.ask, str(world.places.socket), "drain", kind="node")
        assert world.heard()[:2] == [PLAIN, AVOID]
        await until(lambda: world.heard() == [PLAIN, AVOID, None])
        await asyncio.to_thread(ask.ask, str(world.places.socket), "undrain", kind="node")
        assert world.heard() == [PLAIN, AVOID, None, PLAIN]

    run(talk)


def test_a_stored_drain_is_declared_before_anything_is_ready(run: Run, tmp_path: Path) -> None:
    stored = '{"version": 1, "node": {"since": "2026-01-01T00:00:00Z", "uid": 0, "reason": ""}, "backends": {}}'
    (tmp_path / "intent.json").write_text(stored)

    async def talk(world: World) -> None:
        await until(lambda: world.speaker.beats > 0)
        assert world.speaker.said == [{VIP: None}]
        world.answering.set()
        await until(lambda: world.daemon.node.ready)
        await asyncio.sleep(0.03)

    assert run(talk).heard() == [None]


def test_a_first_term_drains_lingers_and_leaves_by_itself(run: Run) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: world.speaker.stopped == [True])

    world = run(talk)
    assert world.heard() == [PLAIN, AVOID, None]
    assert not world.places.intent.exists()
    assert not world.places.socket.exists()


def test_a_second_term_leaves_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crank, "LINGER", 60.0)

    async def talk(world: World) -> None:
        await world.serving()
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: world.daemon.node.stopping)
        await asyncio.sleep(0.02)
        assert world.speaker.stopped == []
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: world.speaker.stopped == [True])

    run(talk)


def test_a_hand_over_leaves_the_announcements_as_they_are(run: Run) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        os.kill(os.getpid(), signal.SIGUSR2)
        await until(lambda: world.speaker.stopped == [False])

    assert run(talk).heard() == [PLAIN]


def test_hup_reads_the_file_again_and_follows_it(run: Run) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        four = THREE[:-1] + ", {name: b4, address: 10.0.9.4}]"
        world.places.config.write_text(world.places.config.read_text().replace(THREE, four))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: 4 in world.forwarder.states[-1].pools[0].slots)
        assert "reloaded, changed: pools" in world.reasons()
        assert world.heard() == [PLAIN]

    run(talk)


def test_a_reload_may_change_the_vips(run: Run) -> None:
    other = IPv4Network("203.0.113.99/32")

    async def talk(world: World) -> None:
        await world.serving()
        world.places.config.write_text(world.places.config.read_text().replace("203.0.113.10", "203.0.113.99"))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: world.speaker.said[-1].get(other) is not None)
        assert world.speaker.said[-1].get(VIP) is None
        assert world.speaker.config.prefixes == (other,)
        await until(lambda: [str(service.vip) for service in world.forwarder.states[-1].services] == ["203.0.113.99"])

    run(talk)


def test_a_rollback_follows_what_ran_before_in_less_than_a_second(run: Run) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        with pytest.raises(LookupError):
            await world.daemon.roll_back()
        four = THREE[:-1] + ", {name: b4, address: 10.0.9.4}]"
        file = world.places.config
        file.write_text(file.read_text().replace(THREE, four))
        await world.daemon.reload()
        await until(lambda: 4 in world.forwarder.states[-1].pools[0].slots)
        began = asyncio.get_running_loop().time()
        assert await world.daemon.roll_back() == "pools"
        await until(lambda: 4 not in world.forwarder.states[-1].pools[0].slots)
        assert asyncio.get_running_loop().time() - began < 1.0
        assert "b4" in file.read_text()
        assert await world.daemon.roll_back() == "pools"
        assert world.heard() == [PLAIN]

    run(talk)


LISTED = "protection: {block_list: {file: blocked.txt}}\n"


def test_the_block_list_is_installed_and_a_reload_reads_it_again(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "blocked.txt"
    file.write_text("192.0.2.0/24\n")

    async def talk(world: World) -> None:
        await world.serving()
        await until(lambda: world.daemon.blocked is not None)
        file.write_text("192.0.2.0/24\n2001:db8::/32\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: bool(world.daemon.blocked and world.daemon.blocked.count6))
        assert world.forwarder.states[-1].protection.blocking
        assert "reloaded, changed: the block list" in world.reasons()
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: "reloaded, changed: nothing" in world.reasons())
        file.write_text("bad\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: any("blocked.txt:1:1: 'bad'" in reason for reason in world.reasons()))
        text = world.places.config.read_text()
        world.places.config.write_text(text.replace(LISTED, ""))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: world.forwarder.blocked[-1] is None)
        await until(lambda: not world.forwarder.states[-1].protection.blocking)
        assert [found.count4 + found.count6 if found else 0 for found in world.forwarder.blocked] == [1, 2, 0]
        assert world.heard() == [PLAIN]

    run(talk, lambda text: text + LISTED)


@pytest.mark.parametrize(
    ("old", "new"), [("seed: 7", "seed: 8"), ("encap: gre", "encap: grr"), ("asn: 65110", "asn: 65111")]
)
def test_a_reload_of_what_cannot_be_followed_is_told_and_changes_nothing(run: Run, old: str, new: str) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        before = world.daemon.node.config
        world.places.config.write_text(world.places.config.read_text().replace(old, new))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: any("a reload was refused" in reason for reason in world.reasons()))
        assert world.daemon.node.config is before

    run(talk)


def test_an_error_of_ours_in_the_forwarding_ends_the_daemon(run: Run) -> None:
    async def talk(world: World) -> None:
        await world.serving()
        world.forwarder.refusals.append(KeyError("a fault of ours"))
        world.down.add("b1")
        await until(lambda: bool(world.speaker.stopped))

    with pytest.raises(KeyError, match="a fault of ours"):
        run(talk)


@pytest.mark.parametrize("refused", [False, True])
def test_the_block_list_is_there_before_the_first_tables_replace_those_of_an_earlier_daemon(
    monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    opened, listed = FakeForwarder(), parse(["192.0.2.0/24", "198.51.100.0/24"], "b.txt")
    rooms = list[object]()

    def open_it(*_: object, block_entries: int) -> FakeForwarder:
        rooms.append(block_entries)
        return opened

    def refuse(wanted: object) -> bool:
        raise BpfError(Step.MAP, "fill the list", 12)

    monkeypatch.setattr("edge.daemon.daemon.Forwarder.open", open_it)
    if refused:
        monkeypatch.setattr(opened, "block", refuse)
    assert module._open_forwarder(config.load(TEXT, "f.yaml"), listed) is opened
    assert rooms == [3], "room for half as many more"
    assert opened.blocked == ([] if refused else [listed])
