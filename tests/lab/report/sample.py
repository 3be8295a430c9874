"""Results as a scenario run writes them, made from parameters. Nothing in them was measured."""

import random
from typing import Any

Json = dict[str, Any]

VIP, VIP6 = "203.0.113.10/32", "2001:db8:1::10/128"
_BREAKS = [("gap", 0.21), ("reset", None), ("timeout", None), ("refused", None), ("other_backend", None)]


def topology(sites: int = 2, edges: int = 2, backends: int = 3, transits: int = 1, clients: int = 1) -> Json:
    """Sites with two routers each, everything of a site linked to both of them, behind transits."""
    names = [("transit" if transits == 1 else f"transit{i + 1}", "router", "") for i in range(transits)]
    links: list[tuple[str, str]] = []
    for site in "abcdefgh"[:sites]:
        routers = [f"{site}-r1", f"{site}-r2"]
        names += [(router, "router", site) for router in routers]
        links += [(name, router) for name, _, of in names if not of for router in routers]
        links.append((routers[0], routers[1]))
        below = [(f"{site}-e{i + 1}", "edge") for i in range(edges)]
        below += [(f"{site}-b{i + 1}", "backend") for i in range(backends)]
        below += [(f"client-{site}" if clients == 1 else f"client-{site}{i + 1}", "client") for i in range(clients)]
        names += [(name, role, site) for name, role in below]
        for index, (name, role) in enumerate(below):
            both = routers if role != "backend" else [routers[index % 2]]
            links += [(router, name) for router in both]
    ports: dict[str, int] = {}
    ends = []
    for a, b in links:
        for name in (a, b):
            ports[name] = ports.get(name, 0) + 1
        ends.append({"a": f"{a}:eth{ports[a]}", "b": f"{b}:eth{ports[b]}"})
    return {
        "name": f"sample-{sites}",
        "nodes": [{"name": name, "role": role, "site": site} for name, role, site in names],
        "links": ends,
    }


def spine_leaf(spines: int = 2, leaves: int = 4, edges: int = 8, backends: int = 12) -> Json:
    """One site: transit, spines, leaves, and hosts below the leaves."""
    names = [("transit", "router", "")]
    spine, leaf = [f"spine{i + 1}" for i in range(spines)], [f"leaf{i + 1}" for i in range(leaves)]
    names += [(name, "router", "a") for name in (*spine, *leaf)]
    links = [("transit", name) for name in spine] + [(s, n) for s in spine for n in leaf]
    for role, count in (("edge", edges), ("backend", backends), ("client", 2)):
        for index in range(count):
            name = f"{role[0] if role != 'client' else 'client'}{index + 1}"
            names.append((name, role, "a"))
            links.append((leaf[index % leaves], name))
            links += [(leaf[(index + 1) % leaves], name)] if role == "edge" else []
    return {
        "name": "spine-leaf",
        "nodes": [{"name": name, "role": role, "site": site} for name, role, site in names],
        "links": [{"a": f"{a}:eth{i}", "b": f"{b}:eth{i}"} for i, (a, b) in enumerate(links)],
    }


def result(
    seed: int = 1,
    repetitions: int = 12,
    duration: float = 30.0,
    marks: int = 30,
    lab: Json | None = None,
    broken_run: int = 5,
) -> Json:
    """A scenario of four steps; `broken_run` (0: none) breaks flows and misses its bound."""
    chance = random.Random(seed)
    lab = lab or topology()
    runs = [
        _run(chance, number, duration, marks if number == broken_run else marks // 10, lab, number == broken_run)
        for number in range(1, repetitions + 1)
    ]
    slowest = max(each["seconds"] for run in runs for each in run["failover_times"])
    checks = [
        _check("failover_time p99", slowest <= 0.3, f"{slowest * 1000:.0f} ms", "at most 300 ms"),
        _check("failed", all(run["passed"] for run in runs), str(sum(not run["passed"] for run in runs)), "0"),
    ]
    return {
        "schema_version": 1, "fairhop": "0.1.0", "kernel": "6.1.0-sample", "runtime": "netns",
        "when": "2026-01-02T03:04:05Z",
        "versions": {"frr": "8.4.4", "exabgp": "5.0.15", "python": "3.11.2"}, "cores": 2,
        "scenario": {"name": "edge-drain", "title": "An edge is drained under load, another is killed, and both return",
                     "file": "edge-drain.yml", "covers": ["F3", "F16"]},
        "topology": lab, "runs": runs, "checks": checks, "passed": all(check["passed"] for check in checks),
    }  # fmt: skip


def results() -> Json:
    """Two scenarios of one call, one of them passed."""
    return {"schema_version": 1, "results": [result(), result(seed=2, repetitions=2, broken_run=0)]}


def large() -> Json:
    """300 s, 40 nodes, 10,000 marks, 10,000 route changes, ten points a second."""
    found = result(
        repetitions=1, duration=300.0, marks=10_000, lab=topology(sites=3, edges=3, backends=6), broken_run=1
    )
    run = found["runs"][0]
    chance = random.Random(3)
    run["rates"]["edges"] = {name: _series(chance, 300.0, 900, 10) for name in run["rates"]["edges"]}
    routers = [node["name"] for node in found["topology"]["nodes"] if node["role"] == "router"]
    run["route_changes"] = [
        {
            "t": round(chance.uniform(0, 300), 4),
            "router": chance.choice(routers),
            "prefix": VIP,
            "hops": ["a-e1", "a-e2"],
        }
        for _ in range(10_000)
    ]
    return found


def _run(chance: random.Random, number: int, duration: float, marks: int, lab: Json, broken: bool) -> Json:
    def of(role: str) -> list[str]:
        return [node["name"] for node in lab["nodes"] if node["role"] == role]

    edges, backends, routers = of("edge"), of("backend"), of("router")
    plan = [("edge drain", f"drain {edges[0]}"), ("edge undrain", f"undrain {edges[0]}"),
            ("edge kill", f"kill {edges[1]}"), ("edge start", f"start {edges[1]}")]  # fmt: skip
    width = duration / (len(plan) + 0.4)
    steps, changes, times = [], [], []
    for index, (name, action) in enumerate(plan):
        start = round(0.3 * width + index * width, 3)
        slow = broken and name == "edge kill"
        routes = round(chance.uniform(0.42, 0.5) if slow else chance.lognormvariate(-2.6, 0.35), 4)
        left = [edge for edge in edges if not (name in ("edge drain", "edge kill") and edge in action)]
        for router in routers:
            at = round(start + routes * chance.uniform(0.3, 1.0), 4)
            changes += [{"t": at, "router": router, "prefix": prefix, "hops": left} for prefix in (VIP, VIP6)]
        if name in ("edge drain", "edge kill"):
            times.append({"step": name, "seconds": routes})
        steps.append(_step(chance, name, action, start, round(start + width * 0.9, 3), routes, edges, slow))
    kill = steps[2]["t"]
    return {
        "number": number, "up": round(chance.uniform(0.9, 1.3), 2), "converged": round(chance.uniform(4.5, 7), 2),
        "duration": duration, "steps": steps,
        "rates": {
            "edges": {edge: _series(chance, duration, 900, 1, steps, edge) for edge in edges},
            "backends": {backend: _series(chance, duration, 140, 1) for backend in backends},
            "streams": {
                stream: [[t, v, chance.randint(4, 12) if broken and kill <= t < kill + 2 else 0]
                         for t, v in _series(chance, duration, rate, 1)]
                for stream, rate in (("web", 200), ("held", 1000))
            },
        },
        "route_changes": changes,
        "marks": [_mark(chance, kill, duration, edges, backends) for _ in range(marks)],
        "faults": [
            {"name": "loss", "text": "30 % of packets towards a-r1:eth3 are lost", "t": round(duration * 0.5, 2),
             "until": round(duration * 0.62, 2)},
            {"name": "delay", "text": "25 ms more on a-r2:eth1", "t": round(duration * 0.55, 2),
             "until": round(duration * 0.8, 2)},
        ] if broken else [],
        "failover_times": times, "checks": [_check("always routed", True, "yes", "yes")], "passed": not broken,
    }  # fmt: skip


def _step(
    chance: random.Random, name: str, action: str, t: float, until: float, routes: float, edges: list[str], bad: bool
) -> Json:
    answers = chance.randint(900, 1100)
    failed = {"timeout": 7, "reset": 2} if bad else {}
    gap = 0.61 if bad else round(chance.uniform(0.02, 0.12), 3)
    return {
        "name": name, "action": action, "t": t, "until": until, "routes": routes, "taken": round(until - t - 2.5, 3),
        "remark": "an edge that is killed says no goodbye" if name == "edge kill" else "",
        "traffic": {
            "web": {"label": name, "since": t, "until": until, "requests": answers,
                    "replies": answers - sum(failed.values()),
                    "failed": failed, "slowest_request": gap, "stall": 0.004},
            "held": {"label": name, "since": t, "until": until, "established": 1000, "pings": 6000, "answers": 6000,
                     "broken": {"reset": 3} if bad else {}, "longest_gap": gap},
        },
        "edges": {edge: chance.randint(200, 400) for edge in edges if edge not in action},
        "moved": chance.randint(0, 300),
        "reasons": {edge: {"forwarded": chance.randint(9_000, 12_000), "no_backend": 0} for edge in edges},
        "checks": [
            _check("broken", not bad, "3" if bad else "0", "0"),
            _check("failed", not bad, str(sum(failed.values())), "0"),
            _check("gap", gap <= 0.3, f"{gap * 1000:.0f} ms", "at most 300 ms"),
            _check("routes_within", routes <= 0.3, f"{routes * 1000:.0f} ms", "at most 300 ms"),
        ],
    }  # fmt: skip


def _series(
    chance: random.Random,
    duration: float,
    level: float,
    per_second: int,
    steps: list[Json] | None = None,
    edge: str = "",
) -> list[list[float]]:
    def at(t: float) -> float:
        out = any(s["t"] <= t <= s["until"] and s["action"] in (f"drain {edge}", f"kill {edge}") for s in steps or [])
        return 0.0 if out else round(level * chance.uniform(0.9, 1.1))

    return [[index / per_second, at(index / per_second)] for index in range(int(duration * per_second) + 1)]


def _mark(chance: random.Random, kill: float, duration: float, edges: list[str], backends: list[str]) -> Json:
    kind, length = chance.choices(_BREAKS, weights=(8, 4, 3, 2, 1))[0]
    t = min(
        max(chance.gauss(kill + 0.3, duration / 60) if chance.random() < 0.8 else chance.uniform(0, duration), 0),
        duration,
    )
    flow = f"198.51.100.5:{chance.randint(32768, 60999)} > 203.0.113.10:80/tcp"
    return {
        "t": round(t, 4), "kind": kind, "stream": chance.choice(["web", "held"]), "flow": flow,
        "backend": chance.choice(backends), "edge": chance.choice(edges),
        "length": round(length * chance.uniform(0.6, 3), 3) if length else None,
    }  # fmt: skip


def _check(name: str, passed: bool, value: str, bound: str) -> Json:
    return {"name": name, "passed": passed, "value": value, "bound": bound}
