"""`fairhop status`: the first screen tells whether this node serves, and why not if it does not."""

import time
from typing import Any

import click

from edge.cli.common import NEGATIVE, TIMED_OUT, fail, json_option, print_json, request, socket_option
from edge.cli.table import age, why


@click.command()
@click.option("--wait", is_flag=True, help="Return when the verdict is SERVING.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds before exit code 4.")
@json_option
@socket_option
def status(wait: bool, timeout: float, as_json: bool, socket_path: str) -> None:
    """Show what this node serves, announces and forwards; exit code 0 when it is SERVING, else 1."""
    deadline = time.monotonic() + timeout
    facts = request(socket_path, "status")
    while wait and facts["verdict"] != "SERVING":
        if time.monotonic() > deadline:
            fail(f"still {facts['verdict']} after {timeout:g} s", TIMED_OUT)
        time.sleep(0.1)
        facts = request(socket_path, "status")
    if as_json:
        print_json(facts)
    else:
        click.echo("\n".join(_lines(facts)))
    if facts["verdict"] != "SERVING":
        raise SystemExit(NEGATIVE)


def _lines(facts: dict[str, Any]) -> list[str]:
    forwarder = facts["forwarder"]
    modes = ", ".join(f"{interface} {mode}" for interface, mode in forwarder["modes"].items())
    lines = [f"{facts['node']}: {facts['verdict']}", ""]
    for vip in facts["vips"]:
        lines.append(f"vip {vip['prefix']:<20} {vip['stance']:<13}{_mark(vip['acked'])} {_behind(vip)}, {why(vip)}")
    for pool in facts["pools"]:
        digest = (pool["digest"] or "-")[:12]
        panic = " PANIC" if pool["panic"] else " LEAVING PANIC" if pool["leaving_panic"] else ""
        lines.append(f"pool {pool['name']}: {pool['healthy']}/{len(pool['backends'])} up{panic}, table {digest}")
        lines += [_backend_line(backend) for backend in pool["backends"]]
    lines.append(f"forwarder: {modes}; generation {forwarder['generation']}")
    lines.append(
        f"  rx {forwarder['rx']} = tx {forwarder['tx']} + passed {forwarder['passed']} + drops {forwarder['drops']}"
    )
    lines += [f"  {interface}: {remark}" for interface, remark in forwarder["remarks"].items()]
    if listed := forwarder["block_list"]:
        dry_run = ", dry run" if listed["dry_run"] else ""
        lines.append(f"  block list: {listed['prefixes']} prefixes{dry_run}, {listed['hits']} packet(s) met it")
        lines += [f"    {prefix} {packets}" for prefix, packets in list(listed["most_hit"].items())[:3]]
    lines += [f"  {name} waits for a next hop: {reason}" for name, reason in forwarder["waiting"].items()]
    lines.append(f"announcer: {facts['announcer']['phase']}")
    for peer in facts["announcer"]["peers"]:
        state = "up" if peer["up"] else "down"
        lines.append(
            f"  peer {peer['name']} {peer['address']} AS{peer['asn']} {state} {age(peer['since'])} {peer['reason']}"
        )
    lines.append(f"skew: {facts['skew']['state']}: {facts['skew']['reason']}")
    lines += _intent_lines(facts["intent"])
    lines += [f"event {e['at']} {e['subject']}: {e['old']} -> {e['new']}, {e['reason']}" for e in facts["events"][-5:]]
    return lines


def _mark(acked: bool) -> str:
    return "acked " if acked else "ASKED "


def _behind(vip: dict[str, Any]) -> str:
    accepted = vip.get("accepted")
    words = [f"accepted {accepted['by']}/{accepted['of']}"] if accepted else []
    return ", ".join([*words, f"healthy {vip['healthy']}/{vip['backends']}" + (" PANIC" if vip["panic"] else "")])


def _backend_line(backend: dict[str, Any]) -> str:
    latency = f" ({backend['latency'] * 1000:.1f}ms)" if backend["latency"] is not None else ""
    state = "drained" if backend["drained"] else backend["state"]
    return (
        f"  {backend['name']:<14} {backend['address']:<16} {state:<8} {age(backend['since'])}{latency}"
        f" slots {backend['slots']} weight {backend['weight']} {backend['last'] or 'no result yet'}"
    )


def _intent_lines(intent: dict[str, Any]) -> list[str]:
    standing = ([("node", intent["node"])] if intent["node"] else []) + [
        (f"backend {name}", drain) for name, drain in intent["backends"].items()
    ]
    return [f"drained: {what} since {d['since']} by uid {d['uid']} {d['reason']}".rstrip() for what, d in standing]
