"""What a node says of its checks, as plain facts: one row for each thing that is checked, and why it is as it is."""

from collections.abc import Mapping
from typing import Any

from edge.decide.node import Node
from edge.policy.health import CheckHealth, Health, State


def health_facts(node: Node, local: Mapping[str, Health], now: float) -> dict[str, Any]:
    """Everything `fairhop health` shows; `local` is the health of services with local checks. Times are in seconds."""
    rows: list[dict[str, Any]] = []
    for name, pool in node.config.pools.items():
        for backend in pool.backends:
            subject = {"kind": "backend", "pool": name, "name": backend.name, "address": str(backend.address)}
            drained = {"drained": backend.name in node.intent.backends}
            rows += [subject | drained | row for row in _rows(node.health[name, backend.name], now)]
    for name, health in local.items():
        rows += [{"kind": "service", "name": name} | row for row in _rows(health, now)]
    return {"node": node.config.node, "well": sum(row["state"] == "up" for row in rows), "checks": rows}


def _rows(health: Health, now: float) -> list[dict[str, Any]]:
    whole = {"whole": health.state.value, "whole_since": round(now - health.since, 3)}
    return [check_facts(check, now) | whole for check in health.checks]


def check_facts(check: CheckHealth, now: float) -> dict[str, Any]:
    """One check: state, since when, its last result, how far the streak is, and how long it is held down yet.

    `every` is how often it is probed just now: faster while a state is being decided.
    """
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
        "every": round(check.pace(now), 3),
    }
