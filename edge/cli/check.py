"""`fairhop check`: every error of a configuration file, each with file, line and column."""

from pathlib import Path

import click

from edge.cli.config_file import read_node


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default="/etc/fairhop/fairhop.yaml")
def check(file: Path) -> None:
    """Check FILE (default /etc/fairhop/fairhop.yaml) and exit 0 if a node could run it, else 78."""
    config, blocked = read_node(file)
    backends = sum(len(pool.backends) for pool in config.pools.values())
    listed = f", {blocked.count4 + blocked.count6} blocked prefix(es)" if blocked else ""
    click.echo(f"{file}: ok: node {config.node}, {len(config.services)} service(s), {backends} backend(s){listed}")
