"""Orders of operators about single VIPs: drains that end, the guard of the last announcer, blackholes by hand."""

import time
from pathlib import Path
from typing import Any

import pytest

from edge.policy.announce import Others, Reason, Stance
from tests.edge.test_verbs import VIP, Served, refused, serve

ADDRESS = "203.0.113.10"


def said(served: Served, later: float = 0.0) -> tuple[Stance, Reason]:
    decision = served.node.decisions(time.monotonic() + later)[VIP]
    return decision.stance, decision.reason


@pytest.mark.parametrize("name", [ADDRESS, f"{ADDRESS}/32"])
def test_a_drain_of_a_vip_is_stored_and_an_undrain_takes_it_back(tmp_path: Path, name: str) -> None:
    async def talk(served: Served) -> None:
        answer = await served.ask("drain", uid=1234, kind="vip", name=name, reason="new certificate")
        assert (answer["vip"], answer["untold"], answer["until"]) == (str(VIP), [str(VIP)], None)
        assert said(served) == (Stance.DEPREFERRED, Reason.DRAINING)
        assert said(served, 2.0) == (Stance.WITHDRAWN, Reason.DRAINED)
        assert served.stored()["vips"][str(VIP)]["uid"] == 1234
        await served.ask("undrain", kind="vip", name=name)
        assert said(served, 2.0) == (Stance.ANNOUNCED, Reason.SERVING)

    served = serve(tmp_path, talk)
    assert served.stored()["vips"] == {}
    reasons = [event["reason"] for event in served.events.last]
    assert reasons == [f"drain vip {ADDRESS} by uid 1234", f"undrain vip {VIP} by uid 0"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("203.0.113.11", "no vip is called '203.0.113.11'; did you mean '203.0.113.10'?"),
        ("web", "vip is 'web': expected an address or a prefix, such as 192.0.2.1 or 2001:db8::/64"),
        (None, "vip is None: expected an address"),
    ],
)
def test_an_unknown_vip_is_refused_with_what_there_is(tmp_path: Path, name: Any, told: str) -> None:
    async def talk(served: Served) -> None:
        for verb in ("drain", "undrain", "blackhole", "unblackhole"):
            assert told in await refused(served.ask(verb, kind="vip", name=name, reason="r"), 2)

    served = serve(tmp_path, talk)
    assert (served.turns, served.stored()) == (0, {})


def test_what_is_not_drained_or_blackholed_cannot_be_taken_back(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        text = await refused(served.ask("undrain", kind="vip", name=ADDRESS), 2)
        assert text == f"vip '{VIP}' is not drained"
        text = await refused(served.ask("unblackhole", kind="vip", name=ADDRESS), 2)
        assert text == f"vip '{VIP}' is not blackholed"

    serve(tmp_path, talk)


def test_a_drain_for_a_time_ends_by_itself(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        answer = await served.ask("drain", kind="vip", name=ADDRESS, **{"for": 90})
        assert abs(answer["until"] - time.time() - 90) < 1
        now = time.monotonic()
        assert served.node.ended_orders(now + 85) is None
        assert 85 < (served.node.next_deadline() or 0) - now <= 90
        intent = served.node.ended_orders(now + 91)
        assert intent is not None
        served.verbs_of.orders.end(intent)
        assert said(served) == (Stance.ANNOUNCED, Reason.SERVING)

    served = serve(tmp_path, talk)
    assert served.stored()["vips"] == {}
    assert served.events.last[-1]["reason"] == "the time of an order is over"


@pytest.mark.parametrize("lasts", [0, -1, "90", float("nan"), 1e12, True])
def test_a_time_that_is_none_is_refused(tmp_path: Path, lasts: Any) -> None:
    async def talk(served: Served) -> None:
        assert "expected seconds" in await refused(served.ask("drain", kind="node", **{"for": lasts}), 2)

    assert serve(tmp_path, talk).stored() == {}


@pytest.mark.parametrize("kind", ["node", "vip"])
def test_the_last_announcer_is_not_drained_without_force(tmp_path: Path, kind: str) -> None:
    name = {"node": None, "vip": ADDRESS}[kind]

    async def talk(served: Served) -> None:
        served.node.set_others({VIP: Others(staying=0, leaving=3)})
        text = await refused(served.ask("drain", kind=kind, name=name), 5)
        assert text == f"no router knows another node that announces {ADDRESS}; --force does it"
        assert (served.turns, said(served)) == (0, (Stance.ANNOUNCED, Reason.SERVING))
        assert (await served.ask("drain", kind=kind, name=name, force=True))["untold"] == []
        assert said(served, 2.0) == (Stance.WITHDRAWN, Reason.DRAINED)

    serve(tmp_path, talk)


def test_a_node_that_becomes_the_last_while_it_drains_holds_on(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        served.node.set_others({VIP: Others(staying=1)})
        await served.ask("drain", kind="node")
        served.node.set_others({VIP: Others(staying=0, leaving=1)})
        assert said(served, 2.0) == (Stance.DEPREFERRED, Reason.LAST)
        served.node.set_others({VIP: Others(staying=1)})
        assert said(served, 3.0) == (Stance.WITHDRAWN, Reason.DRAINED)

    serve(tmp_path, talk)


def test_a_blackhole_needs_a_reason_and_is_kept_with_who_and_why(tmp_path: Path) -> None:
    async def talk(served: Served) -> None:
        text = await refused(served.ask("blackhole", kind="vip", name=ADDRESS, reason="  "), 2)
        assert text == "a blackhole needs a reason: --reason TEXT"
        await served.ask("blackhole", uid=7, kind="vip", name=ADDRESS, reason="flood of 400 Gbit/s")
        assert said(served) == (Stance.BLACKHOLED, Reason.BLACKHOLED)
        assert served.stored()["blackholes"][str(VIP)]["reason"] == "flood of 400 Gbit/s"
        await served.ask("unblackhole", kind="vip", name=ADDRESS)
        assert said(served) == (Stance.ANNOUNCED, Reason.SERVING)

    served = serve(tmp_path, talk)
    assert served.events.last[0]["reason"] == f"blackhole vip {ADDRESS} by uid 7: flood of 400 Gbit/s"
