"""Rendered files on disk: `fairhop lab render` writes them beside the topology file, `--check` only compares."""

from dataclasses import dataclass
from pathlib import Path

import click

from edge.strictyaml import ConfigError
from lab import topology
from lab.addressing import PlanError, plan
from lab.render import render

DEFAULT_TOPOLOGY = Path("containerlab/two-site.clab.yml")
EXIT_DIFFERS, EXIT_CONFIG = 1, 78


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the disk differs from the description: paths relative to the topology file's folder, sorted."""

    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    stray: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.stray)


def rendered(file: Path) -> dict[str, str]:
    """What `file` describes, path to content. Raises `ConfigError`, `PlanError` or OSError."""
    return render(plan(topology.load(file.read_text(), str(file), folder=str(file.parent))))


def compare(folder: Path, wanted: dict[str, str]) -> Difference:
    """Compare `wanted` with what stands in `folder`; only the lab's own subfolder is searched for stray files."""
    present = {
        str(path.relative_to(folder)): path.read_text()
        for top in sorted({Path(name).parts[0] for name in wanted})
        for path in (folder / top).rglob("*")
        if path.is_file()
    }
    return Difference(
        missing=tuple(sorted(wanted.keys() - present.keys())),
        changed=tuple(sorted(name for name in wanted.keys() & present.keys() if wanted[name] != present[name])),
        stray=tuple(sorted(present.keys() - wanted.keys())),
    )


def write(folder: Path, wanted: dict[str, str], difference: Difference) -> None:
    """Make `folder` equal to `wanted`; an unchanged file is not touched."""
    for name in (*difference.missing, *difference.changed):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[name])
    for name in difference.stray:
        (folder / name).unlink()


@click.command(name="render")
@click.option("-t", "--topology", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              default=DEFAULT_TOPOLOGY, show_default=True, help="The containerlab topology file.")  # fmt: skip
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when a file differs from the description.")
def command(file: Path, check: bool) -> None:
    """Derive every node's addresses and configuration files from the topology file."""
    try:
        wanted = rendered(file)
    except (ConfigError, PlanError) as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(EXIT_CONFIG) from None
    difference = compare(file.parent, wanted)
    for kind, names in (("new", difference.missing), ("changed", difference.changed), ("stray", difference.stray)):
        for name in names:
            click.echo(f"{kind:8}{name}")
    if check and difference:
        click.echo(f"{file}: rendered files differ: run `fairhop lab render`", err=True)
        raise click.exceptions.Exit(EXIT_DIFFERS)
    if not check:
        write(file.parent, wanted, difference)
    click.echo(f"{file}: {len(wanted)} files are as described")
