"""The verbs: what is answered, what is refused with which exit code, and that a refusal changes nothing."""

import asyncio
import dataclasses
import io
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from bgp.speaker import Speaker
from edge.config.file import Config, load
from edge.control.ask import Answer, RefusedError
from edge.control.intent_store import IntentStore
from edge.control.verbs import Verbs
from edge.datapath.blocklist import BlockList, parse
from edge.datapath.model import IpAddress
from edge.datapath.next_hop import Finding
from edge.decide.intent import Drain, Intent
from edge.decide.node import Node
from edge.install.forwarding import Forwarding, Wish
from edge.log.events import EventLog
from edge.policy.announce import Stance
from edge.policy.health import Health
from edge.text.strictyaml import ConfigError, Problem
from tests.edge.fakes import LOOPBACK, FakeForwarder, hops, speaker, until
from tests.edge.test_config import GOOD
from tests.edge.test_node import BAD, OK
from tests.edge.test_plan import THREE, config

ROOT_UID = 0
VIP = IPv4Network("203.0.113.10/32")


class Served:
    """A daemon without a crank: each turn is counted, and wishes for what the node wants."""

    def __init__(self, directory: Path, settings: Config, forwarder: FakeForwarder) -> None:
        self.intent_file = directory / "state" / "intent.json"
        self.node = Node(settings, Intent(), time.monotonic())
        self.store = IntentStore(self.intent_file)
        self.events = EventLog(io.StringIO())
        self.forwarder = forwarder
        self.forwarding = Forwarding(forwarder, self.node.forwarder_applied, lambda _: None)
        self.speaker: Speaker = speaker(settings, directory / "announcer")
        self.turns = 0
        self.findings: dict[IpAddress, Finding] = {}
        self.blocked: BlockList | None = None
        self.bfd: dict[str, dict[str, Any]] = {}
        self.read_back = None
        self.service_health: dict[str, Health] = {}
        self.reloading: Callable[[], str] = lambda: "pools"
        self.verbs_of = Verbs(self, Path("/etc/fairhop/f.yaml"))
        self.verbs = self.verbs_of.table()

    def turn(self) -> None:
        self.turns += 1
        node = self.node
        self.forwarding.want(Wish(node.config, node.selections(), hops(node.config), node.config.vips))

    async def reload(self) -> str:
        return self.reloading()

    async def roll_back(self) -> str:
        raise LookupError("no reload has changed anything since the daemon started")

    async def ask(self, verb: str, uid: int = ROOT_UID, **arguments: Any) -> Answer:
        return await self.verbs[verb]({"verb": verb} | arguments, uid)

    def stored(self) -> dict[str, Any]:
        text = self.intent_file.read_text() if self.intent_file.exists() else "{}"
        return dict(json.loads(text))

    def down(self, *names: str) -> None:
        for name in names:
            for _ in range(3):
                self.node.observe("web", name, BAD, time.monotonic())


def serve(directory: Path, talk: Callable[[Served], Awaitable[None]], *, loaded: bool = True) -> Served:
    """Have `talk` with a daemon whose backends are up and whose tables are loaded, unless not `loaded`."""

    async def session() -> Served:
        served = Served(directory, config(), FakeForwarder())
        for name in ("b1", "b2", "b3"):
            served.node.observe("web", name, OK, time.monotonic())
        running = asyncio.create_task(served.forwarding.run())
        if loaded:
            served.turn()
            await until(lambda: served.node.ready)
            served.turns = 0
        await talk(served)
        served.forwarding.stop()
        await running
        return served

    return asyncio.run(session())


async def refused(answer: Awaitable[Answer], code: int) -> str:
    with pytest.raises(RefusedError) as caught:
        await answer
    assert caught.value.code == code
    return str(caught.value)


def test_status_tells_the_verdict_the_modes_and_the_table_in_force(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        facts = await served.ask("status")
        assert (facts["node"], facts["verdict"]) == ("a-e1", "SERVING")
        assert facts["forwarder"]["modes"] == {"lo": "generic"}
        assert facts["forwarder"]["remarks"] == {}
        assert (facts["forwarder"]["generation"], facts["forwarder"]["current"]) == (1, True)
        assert sum(backend["slots"] for backend in facts["pools"][0]["backends"]) == 101
        json.dumps(facts)

    serve(tmp_path, talk)


def test_status_says_why_an_interface_is_generic(tmp_path: Path) -> None:
    refused = "cannot attach XDP to lo in native mode: Operation not supported"

    async def talk(served: Served) -> None:
        served.forwarder.found = (dataclasses.replace(LOOPBACK, remark=refused),)
        await asyncio.to_thread(served.forwarder.reattach)
        facts = await served.ask("status")
        assert facts["forwarder"]["modes"] == {"lo": "generic"}
        assert facts["forwarder"]["remarks"] == {"lo": refused}

    serve(tmp_path, talk)


def test_status_is_answered_before_any_table_is_loaded(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        facts = await served.ask("status")
        assert facts["verdict"].startswith("NOT SERVING (starting")
        assert (facts["forwarder"]["generation"], facts["pools"][0]["digest"]) == (0, None)

    serve(tmp_path, talk, loaded=False)


def test_a_drain_of_the_node_is_stored_with_who_and_why_and_carried_out_at_once(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        answer = await served.ask("drain", uid=1234, kind="node", name="a-e1", reason="new line card")
        assert (answer["node"], answer["quiet_packets"], answer["quiet_for"]) == ("a-e1", 10, 2.0)
        assert abs(answer["at"] - time.monotonic()) < 1

    served = serve(tmp_path, talk)
    kept = served.stored()["node"]
    assert (kept["uid"], kept["reason"]) == (1234, "new line card")
    assert served.node.decisions(time.monotonic())[VIP].stance is Stance.DEPREFERRED
    assert (served.turns, served.events.last[-1]["reason"]) == (1, "drain node by uid 1234")


def test_a_second_drain_of_the_node_keeps_the_first_ones_time_and_reason(tmp_path: Path) -> None:
    first = Drain("2026-01-01T00:00:00Z", 7, "the first")

    async def talk(served: Served) -> None:
        served.node.set_intent(Intent(node=first), 0.0)
        await served.ask("drain", kind="node", reason="the second")

    assert serve(tmp_path, talk).node.intent.node == first


def test_a_reason_without_end_is_cut(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        await served.ask("drain", kind="node", reason="x" * 10_000)

    assert len(serve(tmp_path, talk).stored()["node"]["reason"]) == 200


def test_a_drain_of_a_backend_is_stored_and_says_how_many_slots_move(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        before = {b["name"]: b["slots"] for b in (await served.ask("status"))["pools"][0]["backends"]}
        answer = await served.ask("drain", kind="backend", name="b1")
        assert before["b1"] <= answer["slots_moving"]["web"] < 101
        assert answer["table_size"] == 101
        await until(lambda: served.forwarding.current)
        after = {b["name"]: b for b in (await served.ask("status"))["pools"][0]["backends"]}
        assert (after["b1"]["slots"], after["b1"]["drained"]) == (0, True)

    served = serve(tmp_path, talk)
    assert set(served.stored()["backends"]) == {"b1"}
    assert 1 not in served.forwarder.states[-1].pools[0].slots


def test_an_undrain_gives_the_same_table_back_and_clears_what_is_stored(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        await served.ask("drain", kind="backend", name="b1")
        await served.ask("drain", kind="node")
        await until(lambda: served.forwarding.current)
        await served.ask("undrain", kind="backend", name="b1")
        await served.ask("undrain", kind="node", name="a-e1")
        await until(lambda: served.forwarding.current)

    served = serve(tmp_path, talk)
    assert served.stored() == {"version": 2, "node": None, "backends": {}, "vips": {}, "blackholes": {}}
    assert served.forwarder.states[-1].pools == served.forwarder.states[0].pools
    assert served.node.decisions(time.monotonic())[VIP].stance is Stance.ANNOUNCED


@pytest.mark.parametrize("verb", ["drain", "undrain"])
def test_another_nodes_name_is_refused_and_nothing_changes(tmp_path: Path, verb: str) -> None:
    async def talk(served: Served) -> None:
        text = await refused(served.ask(verb, kind="node", name="a-e2"), 2)
        assert text == "this node is 'a-e1', not 'a-e2': ask on that node"

    served = serve(tmp_path, talk)
    assert (served.turns, served.stored(), served.node.intent) == (0, {}, Intent())


def test_an_unknown_backend_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        text = await refused(served.ask("drain", kind="backend", name="bb3"), 2)
        assert text == "no backend is called 'bb3'; did you mean 'b3'?"
        text = await refused(served.ask("drain", kind="backend", name="zebra"), 2)
        assert text == "no backend is called 'zebra'; valid: b1, b2, b3"
        assert "'None'" in await refused(served.ask("drain"), 2)

    served = serve(tmp_path, talk)
    assert (served.turns, served.stored()) == (0, {})


def test_a_drain_that_would_empty_a_pool_is_refused_drained_and_down_alike(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        await served.ask("drain", kind="backend", name="b1")
        served.down("b2")
        text = await refused(served.ask("drain", kind="backend", name="b3"), 5)
        assert text == "pool 'web' would have no active backend left; --force does it"

    served = serve(tmp_path, talk)
    assert (set(served.stored()["backends"]), set(served.node.intent.backends)) == ({"b1"}, {"b1"})


def test_force_empties_a_pool(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        served.down("b2", "b3")
        await served.ask("drain", kind="backend", name="b1", force=True)

    assert set(serve(tmp_path, talk).stored()["backends"]) == {"b1"}


def test_an_undrain_of_a_backend_that_is_not_drained_is_refused_with_what_is(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        assert await refused(served.ask("undrain", kind="backend", name="b1"), 2) == "backend 'b1' is not drained"
        await served.ask("drain", kind="backend", name="b2")
        text = await refused(served.ask("undrain", kind="backend", name="b1"), 2)
        assert text == "backend 'b1' is not drained; did you mean 'b2'?"

    assert set(serve(tmp_path, talk).stored()["backends"]) == {"b2"}


def test_two_drains_at_once_lose_no_intent(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        await asyncio.gather(*(served.ask("drain", kind="backend", name=name) for name in ("b1", "b2")))

    served = serve(tmp_path, talk)
    assert set(served.stored()["backends"]) == set(served.node.intent.backends) == {"b1", "b2"}


def test_of_drains_at_once_the_one_that_would_empty_the_pool_is_refused(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        drains = (served.ask("drain", kind="backend", name=name) for name in ("b1", "b2", "b3"))
        outcomes = await asyncio.gather(*drains, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [dict, dict, RefusedError]

    assert set(serve(tmp_path, talk).stored()["backends"]) == {"b1", "b2"}


def test_an_intent_that_cannot_be_stored_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a directory should be")

    async def talk(served: Served) -> None:
        for kind, name in (("node", None), ("backend", "b1")):
            text = await refused(served.ask("drain", kind=kind, name=name), 1)
            assert "the drain was not stored, nothing changed" in text

    served = serve(tmp_path, talk)
    assert (served.node.intent, served.turns, served.events.last) == (Intent(), 0, [])
    assert served.node.decisions(time.monotonic())[VIP].stance is Stance.ANNOUNCED


FLOW: Mapping[str, Any] = {"source": "198.51.100.7:40000", "destination": "203.0.113.10:80/tcp"}


def test_why_runs_the_program_and_holds_it_against_the_oracle(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        answer = await served.ask("why", **FLOW)
        assert answer["agree"] is True
        assert answer["program"] == answer["oracle"]
        assert (answer["backend"], answer["oracle"]["verdict"]) == ("b2", "tx")

    serve(tmp_path, talk)


def test_why_knows_the_block_list_that_is_in_force(tmp_path: Path) -> None:
    listed = GOOD.replace("[{name: a-b1, address: 10.0.9.1}]", THREE) + "protection: {block_list: {file: b.txt}}\n"

    async def talk(served: Served) -> None:
        served.node.reload(load(listed, "f.yaml"), time.monotonic())
        served.turn()
        await until(lambda: served.forwarder.states[-1].protection.blocking and served.forwarding.current)
        assert (await served.ask("why", **FLOW))["oracle"]["reason"] == "none"
        served.blocked = parse(["198.51.100.0/24"], "b.txt")
        served.forwarder.blocked.append(served.blocked)
        facts = await served.ask("status")
        assert facts["forwarder"]["block_list"]["most_hit"] == {"198.51.100.0/24": 3}
        answer = await served.ask("why", **FLOW)
        assert (answer["agree"], answer["oracle"]["reason"]) == (True, "blocked")

    serve(tmp_path, talk)


def test_why_tells_of_a_program_that_runs_another_table(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        served.forwarder.deaf = True
        await served.ask("drain", kind="backend", name="b2")
        await until(lambda: served.forwarding.current)
        answer = await served.ask("why", **FLOW)
        assert answer["agree"] is False
        assert answer["program"]["address"] == "10.0.9.2" != answer["oracle"]["address"]

    serve(tmp_path, talk)


def test_why_refuses_what_is_no_flow_and_a_node_without_a_table(tmp_path: Path) -> None:
    async def loaded(served: Served) -> None:
        assert "expected VIP:PORT/tcp" in await refused(served.ask("why", source="1.2.3.4:5", destination="x"), 2)

    async def empty(served: Served) -> None:
        assert await refused(served.ask("why", **FLOW), 1) == "no table is loaded yet"

    serve(tmp_path, loaded)
    serve(tmp_path, empty, loaded=False)


def test_a_reload_names_the_file_and_what_changed(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        assert await served.ask("reload") == {"file": "/etc/fairhop/f.yaml", "changes": "pools"}

    serve(tmp_path, talk)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConfigError([Problem("f.yaml", 3, 7, "no such thing")]), "configuration goes on:\nf.yaml:3:7: no such"),
        (FileNotFoundError(2, "No such file or directory"), "/etc/fairhop/f.yaml: [Errno 2] No such file"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "/etc/fairhop/f.yaml: 'utf-8' codec"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_code_78(tmp_path: Path, error: Exception, told: str) -> None:
    def broken() -> str:
        raise error

    async def talk(served: Served) -> None:
        served.reloading = broken
        assert told in await refused(served.ask("reload"), 78)

    serve(tmp_path, talk)


def test_a_rollback_of_nothing_is_refused(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        assert "no reload has changed anything" in await refused(served.ask("rollback"), 1)

    serve(tmp_path, talk)
