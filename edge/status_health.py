"""What a node says of its checks, as plain facts: one row for each thing that is checked, and why it is as it is."""

from collections.abc import Mapping
from typing import Any

from edge.health import CheckHealth, Health, State
from edge.node import Node

Due = Mapping[tuple[str, str, int], float]
"""(pool, backend, place of the check in its list) -> when it is probed next, monotonic seconds."""


def health_facts(node: Node, now: float, due: Due | None = None) -> dict[str, Any]:
    """Everything `fairhop health` shows; ages, latencies and the time to the next probe are in seconds."""
    rows: list[dict[str, Any]] = []
    for name, pool in node.config.pools.items():
        for backend in pool.backends:
            health = node.health[name, backend.name]
            subject = {"kind": "backend", "pool": name, "name": backend.name, "address": str(backend.address)}
            drained = {"drained": backend.name in node.intent.backends}
            for place, check in enumerate(health.checks):
                moment = (due or {}).get((name, backend.name, place))
                rows.append(subject | drained | check_facts(check, now, moment) | _whole(health, now))
    faults = dict(node.service_faults)
    rows += [{"kind": "service", "name": name, "state": "down", "last": reason} for name, reason in faults.items()]
    return {"node": node.config.node, "well": sum(row["state"] == "up" for row in rows), "checks": rows}


def _whole(health: Health, now: float) -> dict[str, Any]:
    return {"backend_state": health.state.value, "backend_since": round(now - health.since, 3)}


def check_facts(check: CheckHealth, now: float, due: float | None = None) -> dict[str, Any]:
    """One check: state, since when, its last result, how far the streak is, and how long it is held down yet."""
    last = check.last
    needed = {State.UP: check.rules.fall, State.DOWN: check.rules.rise}.get(check.state)
    held = check.held_until - now if check.state is State.DOWN else 0.0
    return {
        "check": check.rules.label or "check",
        "state": check.state.value,
        "since": round(now - check.since, 3),
        "last": last.detail if last else None,
        "ok": last.ok if last else None,
        "latency": round(last.latency, 6) if last else None,
        "streak": check.streak,
        "streak_needed": needed,
        "held_down": round(held, 3) if held > 0 else 0.0,
        "penalty": round(check.penalty(now), 1),
        "next": None if due is None else round(max(due - now, 0.0), 3),
    }
