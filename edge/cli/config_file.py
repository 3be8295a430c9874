"""How every command reads a configuration file: all errors on stderr, each at its place, and exit code 78."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from edge.cli.common import CONFIG, fail
from edge.strictyaml import ConfigError

C = TypeVar("C")


def read_config(path: Path, load: Callable[[str, str], C]) -> C:
    """What `load(text, name)` makes of the file; ends the command when it cannot be used."""
    try:
        return load(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: {error}", CONFIG)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        fail(f"{path}: {len(error.problems)} error(s)", CONFIG)
