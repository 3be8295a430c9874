"""`fairhop lab report`: the result of scenarios as one HTML file."""

import json
from pathlib import Path

import click

from edge.cli.common import CONFIG, fail
from lab.cli.common import tell


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--html", "output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="OUT.html",
              help="Where to write the report.")  # fmt: skip
def report(file: Path, output: Path) -> None:
    """Draw the result in FILE (written by `fairhop lab test --json`) as one HTML file that needs nothing else.

    Exit code 78 when FILE is no result.
    """
    from lab.report import html
    from lab.report.result import ResultError

    try:
        document = json.loads(file.read_text())
        if not isinstance(document, dict):
            raise ResultError("expected an object: the result of a scenario, or {results: [...]}")
        html.write(document, output)
    except json.JSONDecodeError as error:
        fail(f"{file}:{error.lineno}:{error.colno}: {error.msg}", CONFIG)
    except (ResultError, UnicodeDecodeError) as error:
        fail("\n".join(f"{file}: {line}" for line in str(error).splitlines()), CONFIG)
    tell(f"{output} is written ({output.stat().st_size / 1024:,.0f} KiB)")
