"""The rows that need traffic or last minutes: planned drains under load, checkers that alternate or that all lie."""

import time

from lab.announce.bed import Bed, Progress
from lab.announce.measures import Effort, Found, Recipe, each, layout
from lab.announce.space import eventually
from lab.announce.traffic import Losses, Traffic
from lab.runtime import LabError

_AFTER = 0.4  # seconds of traffic that belong to a drain after its last change
_ALL_DOWN_FOR = 10.0
_FLIP = 1.0  # seconds between a checker's two answers
# The check is as fast and as credulous as it can be, so that each flip of the backend is a flip of the checker.
_CREDULOUS = {"interval": 0.2, "timeout": 0.2, "rise": 1, "fall": 1}
_DEFAULT_PATIENCE = {"hold_down": 2.0, "damping": True}


def _planned_drain(bed: Bed, _: int, effort: Effort, tell: Progress) -> Found:
    """Each value: packets and requests lost between one drain's command and the next."""
    found = Found()
    begun: list[float] = []
    failed: list[int] = []
    with Traffic(bed) as traffic:
        for number in each(effort.drains, tell):
            begun.append(time.monotonic())
            gone = bed.gone()
            bed.edge.ask("drain", kind="node")
            bed.watch.wait(gone, 10.0, "the drained edge out of the ECMP set")
            eventually(lambda: bed.edge.verdict() == "DRAINED", 10.0, "the drained edge withdraws")
            time.sleep(_AFTER)
            bed.edge.ask("undrain", kind="node")
            bed.settled()
            time.sleep(_AFTER)
            failed.append(traffic.mark(f"drain {number}").failed_requests)
        losses = traffic.stop()
    found.values = [float(lost) for lost in _by_drain(begun, failed, losses)]
    found.facts = _traffic_facts(losses)
    found.notes = f"{losses.packets} packets and {losses.requests.requests} requests"
    return found


def _by_drain(begun: list[float], failed: list[int], losses: Losses) -> list[int]:
    lost = list(failed)
    for moment in losses.lost:
        at = sum(start <= moment for start in begun) - 1
        lost[max(at, 0)] += 1
    unmarked = losses.requests.failed_requests - sum(failed)
    lost[-1] += max(unmarked, 0)
    return lost


def _traffic_facts(losses: Losses) -> dict[str, object]:
    requests = losses.requests
    return {
        "packets": losses.packets,
        "packets lost": len(losses.lost),
        "slowest packet, ms": round(1000 * losses.longest, 1),
        "requests": requests.requests,
        "replies": requests.replies,
        "requests failed": dict(requests.failed),
        "slowest request, ms": round(1000 * requests.slowest_request, 1),
        "the client's own worst stall, ms": round(1000 * requests.stall, 1),
    }


def _alternating(bed: Bed, _: int, effort: Effort, tell: Progress) -> Found:
    """Every second the checker of the only backend says the other thing; the UPDATEs that this costs at the router."""
    router = bed.routers["r1"]
    before, began = router.updates("e1"), time.monotonic()
    down, flips = False, 0
    while time.monotonic() - began < effort.alternate_for:
        down, flips = not down, flips + 1
        bed.say_down("b1", down)
        if flips % 30 == 0:
            tell(f"  {flips} flips, {router.updates('e1') - before} UPDATEs")
        time.sleep(max(0.0, began + flips * _FLIP - time.monotonic()))
    updates = router.updates("e1") - before
    bed.say_down("b1", False)
    gone = [change for change in bed.watch.changes(began) if not change[2]]
    found = Found([float(updates)], notes=f"{flips} flips, {len(gone)} times a VIP without a route")
    before, began = router.updates("e1"), time.monotonic()
    try:
        bed.edge.await_serving(60.0)
        bed.settled(30.0)
        found.facts["seconds until it serves again"] = round(time.monotonic() - began, 1)
    except LabError as error:
        found.facts["does not serve again"] = str(error)
    found.facts["UPDATEs afterwards"] = router.updates("e1") - before
    return found


def _all_down(bed: Bed, _: int, __: Effort, tell: Progress) -> Found:
    """All backends of both sites fail their checks and serve on: the share of requests served, 0 if a VIP ever went."""
    backends = [node.name for node in bed.world.having("backend")]
    with Traffic(bed, packets=0, requests=200) as traffic:
        began = time.monotonic()
        for name in backends:
            bed.say_down(name, True)
        tell(f"  every check fails for {_ALL_DOWN_FOR:g} s")
        time.sleep(_ALL_DOWN_FOR)
        verdicts = {name: edge.verdict() for name, edge in bed.edges.items()}
        without = [change for change in bed.watch.changes(began) if not change[2]]
        losses = traffic.stop()
    for name in backends:
        bed.say_down(name, False)
    serving = [name for name, verdict in verdicts.items() if verdict == "SERVING"]
    if serving:
        raise LabError(f"{', '.join(serving)} has not noticed that its checks fail: nothing was shown")
    answered = losses.requests.replies + losses.requests.failed_requests
    served = losses.requests.replies / max(answered, 1)
    routed = not without and len(bed.watch.table()) == len(bed.world.vips)
    share = round(served if routed else 0.0, 4)
    return Found([share], facts={**_traffic_facts(losses), "verdicts": verdicts}, notes=f"{len(without)} VIPs went")


_CHECK = {"pools": {"web": {"check": {**_CREDULOUS, **_DEFAULT_PATIENCE}}}}
_CAREFUL = {**_CHECK, "safety": {"settle": 0.5, "hold_down": 10, "half_life": 900}}

LONG_RECIPES: dict[str, Recipe] = {
    "planned-drain": (layout(edges=2, backends=2, client=True), _planned_drain),
    "alternating": (layout(vips=1, options=_CAREFUL), _alternating),
    "all-down": (layout(sites=2, client=True, options=_CHECK), _all_down),
}
