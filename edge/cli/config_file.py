"""How every command reads a configuration file: all errors on stderr, each at its place, and exit code 78."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import click

from edge.cli.common import CONFIG, fail
from edge.config.file import Config
from edge.config.file import load as load_config
from edge.datapath.blocklist import BlockList
from edge.install.block_file import read_block_list
from edge.text.strictyaml import ConfigError

C = TypeVar("C")


def read_config(path: Path, load: Callable[[str, str], C]) -> C:
    """What `load(text, name)` makes of the file; ends the command when it cannot be used."""
    try:
        return load(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: {error}", CONFIG)
    except ConfigError as error:
        _refuse(path, error)


def read_node(path: Path) -> tuple[Config, BlockList | None]:
    """The configuration of a node and its block list; ends the command when either cannot be used."""
    config = read_config(path, load_config)
    try:
        return config, read_block_list(config, str(path))
    except ConfigError as error:
        _refuse(path, error)


def _refuse(path: Path, error: ConfigError) -> NoReturn:
    for problem in error.problems:
        click.echo(problem, err=True)
    fail(f"{path}: {len(error.problems)} error(s)", CONFIG)
