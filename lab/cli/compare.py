"""`fairhop lab compare`: one scenario on several labs, side by side."""

import json
from pathlib import Path

import click

from edge.cli.common import CONFIG, fail


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--markdown", is_flag=True, help="As a Markdown document has tables.")
def compare(file: Path, markdown: bool) -> None:
    """Show side by side what ran on several labs, from the results in FILE (of `fairhop lab test --json`).

    Exit code 78 when FILE is no result, or holds nothing to compare.
    """
    from lab.report import compare as core
    from lab.report.result import ResultError, read

    try:
        found = core.tables(read(json.loads(file.read_text())))
    except json.JSONDecodeError as error:
        fail(f"{file}:{error.lineno}:{error.colno}: {error.msg}", CONFIG)
    except (ResultError, UnicodeDecodeError) as error:
        fail("\n".join(f"{file}: {line}" for line in str(error).splitlines()), CONFIG)
    click.echo("\n".join(core.as_markdown(found) if markdown else core.as_text(found)).rstrip())
