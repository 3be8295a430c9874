"""`fairhop check`: every error of a configuration file, each with file, line and column."""

from pathlib import Path

import click

from edge.cli.config_file import read_config
from edge.config import load


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default="/etc/fairhop/fairhop.yaml")
def check(file: Path) -> None:
    """Check FILE (default /etc/fairhop/fairhop.yaml) and exit 0 if a node could run it, else 78."""
    config = read_config(file, load)
    backends = sum(len(pool.backends) for pool in config.pools.values())
    click.echo(f"{file}: ok: node {config.node}, {len(config.services)} service(s), {backends} backend(s)")
