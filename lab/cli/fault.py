"""`fairhop lab fault`: break something on purpose, and mend it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.common import json_option, print_json
from lab.cli.common import SCHEMA_VERSION, lab_options, load_topology, table, tell
from lab.runtimes.files import runtime_for

if TYPE_CHECKING:
    from lab.faults.injector import Applied, Injector


@click.group()
def fault() -> None:
    """Break a link, a node, a program or a router of a running lab; what is broken is mended by `clear`."""


@fault.command()
@click.argument("spelled", metavar="'KIND: {KEY: VALUE, ...}'")
@click.option("--name", default="", help="What `list` and `clear` call it; default: its kind.")
@click.option("--for", "seconds", type=click.FloatRange(0), help="Undo it after so many seconds, and return then.")
@json_option
@lab_options
def add(path: Path | None, runtime_name: str, spelled: str, name: str, seconds: float | None, as_json: bool) -> None:
    """Make a fault, such as 'loss: {on: "a-r1:eth3", percent: 30}'."""
    from lab.faults import parse

    injector = _injector(path, runtime_name)
    wanted = parse.load(spelled, "FAULT")
    made = injector.apply(wanted, name)
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, **_row(made)})
    else:
        click.echo(f"{made.name}: {made.text}")
    if seconds is not None:
        try:
            time.sleep(seconds)
        finally:
            injector.revert(made.name)


@fault.command("list")
@json_option
@lab_options
def list_(path: Path | None, runtime_name: str, as_json: bool) -> None:
    """Show the faults that the lab has now."""
    found = _injector(path, runtime_name).active()
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "faults": [_row(each) for each in found]})
        return
    rows = [(each.name, each.fault.kind, f"{time.monotonic() - each.since:.0f} s", each.text) for each in found]
    click.echo(table([("NAME", "KIND", "SINCE", "WHAT"), *rows]))


@fault.command()
@click.argument("names", nargs=-1)
@lab_options
def clear(path: Path | None, runtime_name: str, names: tuple[str, ...]) -> None:
    """Undo the named faults, or all of them, also those that a tool left which died."""
    from lab.runtime import LabError

    injector = _injector(path, runtime_name)
    there = [each.name for each in injector.active()]
    if unknown := [name for name in names if name not in there]:
        raise LabError(f"there is no fault '{unknown[0]}'; there are: {', '.join(there) or 'none'}")
    if not names:
        injector.revert_all()
    for name in names:
        injector.revert(name)
    tell(f"undone: {', '.join(names or there) or 'nothing, as there was no fault'}")


@fault.command()
@json_option
def kinds(as_json: bool) -> None:
    """Show every kind of fault with its keys; those in brackets have a default."""
    from lab.faults.injector import MAKERS
    from lab.faults.model import KINDS

    found = [
        {
            "kind": kind,
            "keys": {key: None if field.is_required() else field.default for key, field in model.model_fields.items()},
            "required": [key for key, field in model.model_fields.items() if field.is_required()],
            "made": kind in MAKERS,
            "does": (model.__doc__ or "").splitlines()[0],
        }
        for kind, model in KINDS.items()
    ]
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "kinds": found})
        return
    rows = [(str(each["kind"]), _keys(each), _does(each)) for each in found]
    click.echo(table([("KIND", "KEYS", "DOES"), *rows]))


def _injector(path: Path | None, runtime_name: str) -> "Injector":
    from lab.faults.injector import Injector

    topology = load_topology(path)
    return Injector(runtime_for(runtime_name, topology), topology)


def _row(made: "Applied") -> dict[str, Any]:
    from lab.faults.parse import spelled

    return {"name": made.name, "fault": spelled(made.fault), "since": made.since, "text": made.text}


def _keys(kind: dict[str, Any]) -> str:
    return " ".join(key if key in kind["required"] else f"[{key}]" for key in kind["keys"])


def _does(kind: dict[str, Any]) -> str:
    return str(kind["does"]) if kind["made"] else f"(parsed, but not made by this version) {kind['does']}"
