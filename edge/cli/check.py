"""`fairhop check`: every error of a configuration file, each with file, line and column."""

from pathlib import Path

import click

from edge.cli.common import CONFIG, fail
from edge.config import load
from edge.strictyaml import ConfigError


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default="/etc/fairhop/fairhop.yaml")
def check(file: Path) -> None:
    """Check FILE (default /etc/fairhop/fairhop.yaml) and exit 0 if a node could run it, else 78."""
    try:
        config = load(file.read_text(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: {error}", CONFIG)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        fail(f"{file}: {len(error.problems)} error(s)", CONFIG)
    backends = sum(len(pool.backends) for pool in config.pools.values())
    click.echo(f"{file}: ok: node {config.node}, {len(config.services)} service(s), {backends} backend(s)")
