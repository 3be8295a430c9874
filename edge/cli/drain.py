"""`fairhop drain`, `undrain`, `blackhole`, `unblackhole`: the daemon stores what is asked; `--wait` follows it."""

import time
from collections.abc import Callable
from typing import Any

import click

from edge.cli.common import TIMED_OUT, F, fail, json_option, print_json, request, socket_option
from edge.cli.duration import DURATION
from edge.control.ask import Answer
from edge.policy.quiet import QuietMeter

_POLL = 0.1


def _options(command: F) -> F:
    command = socket_option(json_option(command))
    command = click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait before exit code 4.")(
        command
    )
    return click.option("--wait", is_flag=True, help="Return when it is done, not when it is begun.")(command)


def _order_options(command: F) -> F:
    command = click.option("--reason", default="", help="Kept with the intent and shown in status.")(command)
    return click.option("--for", "lasts", type=DURATION, help="End by itself after 90, 90s, 15m, 2h or 1d.")(command)


def _order(reason: str, lasts: float | None, force: bool) -> dict[str, Any]:
    limits: dict[str, Any] = {} if lasts is None else {"for": lasts}
    return {"reason": reason, **limits} | ({"force": True} if force else {})


@click.group()
def drain() -> None:
    """Take this node, one of its VIPs, or a backend, out of service. The intent survives a restart."""


@drain.command("node")
@click.argument("name", required=False)
@click.option("--force", is_flag=True, help="Also where no router knows another node that announces a VIP.")
@_order_options
@_options
def drain_node(
    name: str | None,
    force: bool,
    reason: str,
    lasts: float | None,
    wait: bool,
    timeout: float,
    as_json: bool,
    socket_path: str,
) -> None:
    """De-prefer this node's VIPs, then withdraw them; the sessions stay up and what still arrives is forwarded.

    NAME, if given, must be this node's. With --wait: until withdrawn and quiet (drain.quiet_packets, quiet_for).
    """
    answer = request(socket_path, "drain", kind="node", name=name, **_order(reason, lasts, force))
    click.echo(f"draining node {answer['node']}; survives restart; undo with: fairhop undrain node", err=True)
    _tell_unguarded(answer)
    if wait:
        _await(socket_path, timeout, _node_is_quiet(answer["quiet_packets"], answer["quiet_for"]))
    _finish(socket_path, answer, as_json)


@drain.command("vip")
@click.argument("vip")
@click.option("--force", is_flag=True, help="Also where no router knows another node that announces it.")
@_order_options
@_options
def drain_vip(
    vip: str,
    force: bool,
    reason: str,
    lasts: float | None,
    wait: bool,
    timeout: float,
    as_json: bool,
    socket_path: str,
) -> None:
    """De-prefer one VIP of this node, then withdraw it; the others are not touched.

    With --wait: until ExaBGP has acknowledged the withdrawal.
    """
    answer = request(socket_path, "drain", kind="vip", name=vip, **_order(reason, lasts, force))
    click.echo(f"draining vip {answer['vip']}; survives restart; undo with: fairhop undrain vip {vip}", err=True)
    _tell_unguarded(answer)
    if wait:
        _await(socket_path, timeout, _vip_is("withdrawn", answer["vip"]))
    _finish(socket_path, answer, as_json)


@drain.command("backend")
@click.argument("name")
@click.option("--force", is_flag=True, help="Also where a pool would be left without an active backend.")
@_order_options
@_options
def drain_backend(
    name: str,
    force: bool,
    reason: str,
    lasts: float | None,
    wait: bool,
    timeout: float,
    as_json: bool,
    socket_path: str,
) -> None:
    """Give no slot of the lookup_table to the backend NAME. Prints how many slots move."""
    answer = request(socket_path, "drain", kind="backend", name=name, **_order(reason, lasts, force))
    for pool, slots in answer["slots_moving"].items():
        click.echo(f"pool {pool}: {slots} of {answer['table_size']} slots move", err=True)
    click.echo("established connections in those slots will break: nothing carries them over yet", err=True)
    click.echo(f"draining backend {name}; survives restart; undo with: fairhop undrain backend {name}", err=True)
    if wait:
        _await(socket_path, timeout, _tables_follow)
    _finish(socket_path, answer, as_json)


@click.group()
def undrain() -> None:
    """Bring this node, one of its VIPs, or a backend, back into service."""


@undrain.command("node")
@click.argument("name", required=False)
@_options
def undrain_node(name: str | None, wait: bool, timeout: float, as_json: bool, socket_path: str) -> None:
    """Announce this node's VIPs again."""
    answer = request(socket_path, "undrain", kind="node", name=name)
    if wait:
        _await(socket_path, timeout, _announced)
    _finish(socket_path, answer, as_json)


@undrain.command("vip")
@click.argument("vip")
@_options
def undrain_vip(vip: str, wait: bool, timeout: float, as_json: bool, socket_path: str) -> None:
    """Announce one VIP of this node again."""
    answer = request(socket_path, "undrain", kind="vip", name=vip)
    if wait:
        _await(socket_path, timeout, _vip_is("announced", answer["vip"]))
    _finish(socket_path, answer, as_json)


@undrain.command("backend")
@click.argument("name")
@_options
def undrain_backend(name: str, wait: bool, timeout: float, as_json: bool, socket_path: str) -> None:
    """Give the backend NAME its slots back: exactly those it had."""
    answer = request(socket_path, "undrain", kind="backend", name=name)
    if wait:
        _await(socket_path, timeout, _tables_follow)
    _finish(socket_path, answer, as_json)


@click.command()
@click.argument("vip")
@click.option("--reason", required=True, help="Kept with the intent, logged, and shown in status.")
@click.option("--for", "lasts", type=DURATION, help="End by itself after 90, 90s, 15m, 2h or 1d.")
@_options
def blackhole(
    vip: str, reason: str, lasts: float | None, wait: bool, timeout: float, as_json: bool, socket_path: str
) -> None:
    """Ask the routers to drop all packets to one address (RFC 7999): the last resort against a flood.

    Nothing but this command does so. Routers must accept the community 65535:666 from this node for its own VIPs.
    """
    answer = request(socket_path, "blackhole", kind="vip", name=vip, **_order(reason, lasts, False))
    click.echo(f"blackholing {answer['vip']}; survives restart; undo with: fairhop unblackhole {vip}", err=True)
    if wait:
        _await(socket_path, timeout, _vip_is("blackholed", answer["vip"]))
    _finish(socket_path, answer, as_json)


@click.command()
@click.argument("vip")
@_options
def unblackhole(vip: str, wait: bool, timeout: float, as_json: bool, socket_path: str) -> None:
    """Announce a blackholed VIP as before."""
    answer = request(socket_path, "unblackhole", kind="vip", name=vip)
    if wait:
        _await(socket_path, timeout, lambda status, _: all(v["stance"] != "blackholed" for v in status["vips"]))
    _finish(socket_path, answer, as_json)


def _tell_unguarded(answer: Answer) -> None:
    if answer["untold"]:
        vips = ", ".join(answer["untold"])
        click.echo(f"nobody can tell whether another node announces {vips}: no router is read back", err=True)


def _finish(socket_path: str, answer: Answer, as_json: bool) -> None:
    """With --json: what the daemon answered (`at`: its monotonic clock when it took the command), and its status."""
    if as_json:
        print_json({**answer, "status": request(socket_path, "status")})


def _await(socket_path: str, timeout: float, done: Callable[[dict[str, Any], float], bool]) -> None:
    deadline = time.monotonic() + timeout
    while not done(request(socket_path, "status"), time.monotonic()):
        if time.monotonic() >= deadline:
            fail(
                f"not done after {timeout:g} s; the intent stands, and `fairhop status` shows how far it is", TIMED_OUT
            )
        time.sleep(_POLL)


def _node_is_quiet(packets: int, window: float) -> Callable[[dict[str, Any], float], bool]:
    meter = QuietMeter(packets, window)

    def done(status: dict[str, Any], now: float) -> bool:
        withdrawn = all(vip["stance"] == "withdrawn" and vip["acked"] for vip in status["vips"])
        quiet = meter.observe(status["forwarder"]["tx"], now)
        return withdrawn and quiet

    return done


def _announced(status: dict[str, Any], _: float) -> bool:
    return all(vip["stance"] == "announced" and vip["acked"] for vip in status["vips"])


def _vip_is(stance: str, prefix: str) -> Callable[[dict[str, Any], float], bool]:
    def done(status: dict[str, Any], _: float) -> bool:
        return any(vip["prefix"] == prefix and vip["stance"] == stance and vip["acked"] for vip in status["vips"])

    return done


def _tables_follow(status: dict[str, Any], _: float) -> bool:
    return bool(status["forwarder"]["current"])
