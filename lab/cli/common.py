"""What the verbs of `fairhop lab` share: options, exit codes, tables."""

from collections.abc import Callable, Sequence
from functools import update_wrapper
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from edge.cli.common import CONFIG, NEGATIVE, PERMISSION, TIMED_OUT, fail
from edge.text.strictyaml import ConfigError
from lab.runtime import LabError
from lab.runtimes.files import RUNTIMES, find_topology, named_topology, read_topology
from lab.topology.model import Topology

SCHEMA_VERSION = 1

F = TypeVar("F", bound=Callable[..., Any])


def lab_options(command: F) -> F:
    """`--topology` and `--runtime`, and the exit code of every error a lab can raise."""
    command = click.option(
        "-t", "--topology", "path", type=click.Path(path_type=Path), metavar="FILE|NAME", envvar="FAIRHOP_LAB_TOPOLOGY",
        help="A *.clab.yml file, or its bare name where it lies in . or ./containerlab.",
    )(command)  # fmt: skip
    command = click.option(
        "--runtime", "runtime_name", type=click.Choice(RUNTIMES), default="netns", show_default=True,
        envvar="FAIRHOP_LAB_RUNTIME", help="What runs the nodes.",
    )(command)  # fmt: skip
    return ends_well(command)


def ends_well(command: F) -> F:
    """The exit code of every error a lab can raise."""
    return cast(F, update_wrapper(_ends_well(command), command))


def load_topology(path: Path | None) -> Topology:
    """The topology that the options name."""
    if path is not None:
        return read_topology(named_topology(str(path), Path.cwd()))
    found = find_topology(Path.cwd())
    if len(list(found.parent.glob("*.clab.y*ml"))) > 1:
        tell(f"of several topologies in {found.parent}, this is {found.name}; pick another with --topology NAME")
    return read_topology(found)


def tell(message: str) -> None:
    """Progress, for people."""
    click.echo(message, err=True)


def _ends_well(command: F) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ConfigError as error:
            click.echo(str(error), err=True)
            raise SystemExit(CONFIG) from None
        except PermissionError as error:
            fail(str(error), PERMISSION)
        except TimeoutError as error:
            fail(str(error), TIMED_OUT)
        except (LabError, OSError) as error:
            fail(str(error), NEGATIVE)

    return run


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first of them the headings, in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
