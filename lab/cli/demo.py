"""`fairhop lab demo`: the main job, which is the scenario `acceptance`, from the command line."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.common import NEGATIVE, fail
from lab.cli.common import lab_options, tell
from lab.runtimes.files import runtime_for

if TYPE_CHECKING:
    from lab.scenario.parse import Case

_SCENARIO = Path("scenarios") / "acceptance.yml"


@click.command()
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the same facts to FILE.")  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave the lab up afterwards.")
@click.option("--connections", type=click.IntRange(1, 20000), help="Long-lived connections that each client holds.")
@click.option("--rate", type=click.FloatRange(0, 1000, min_open=True), help="Short requests a second from each client.")
@lab_options
def demo(
    path: Path | None,
    runtime_name: str,
    json_file: Path | None,
    keep: bool,
    connections: int | None,
    rate: float | None,
) -> None:
    """Bring the lab up, serve, drain and kill edges under traffic, and print the verdict.

    The steps are those of scenarios/acceptance.yml beside the topology. Exit code 0 when every check passes, else 1.
    The lab is taken down again, also after ctrl-C.
    """
    from lab.scenario import text
    from lab.scenario.junit import NotRun
    from lab.scenario.suite import Labs

    case = _case(path, connections, rate)
    with Labs(partial(runtime_for, runtime_name), tell) as labs:
        result = labs.play(case)
        labs.close(keep=keep)
    if isinstance(result, NotRun):
        fail(result.reason, NEGATIVE)
    click.echo("\n".join(text.report(result)))
    if json_file:
        json_file.write_text(json.dumps(result.to_json(), indent=2) + "\n")
    if not result.passed:
        raise SystemExit(NEGATIVE)


def _case(path: Path | None, connections: int | None, rate: float | None) -> "Case":
    """The scenario with other amounts of traffic, where they are given. Raises `LabError` or `ConfigError`."""
    from dataclasses import replace

    from lab.runtime import LabError
    from lab.scenario import files

    folders = [path.resolve().parent] if path else [Path(), Path("containerlab")]
    file = next((folder / _SCENARIO for folder in folders if (folder / _SCENARIO).is_file()), None)
    if file is None:
        raise LabError(f"no {_SCENARIO} in {' or '.join(str(folder.resolve()) for folder in folders)}")
    (case,) = files.read([file])
    if path and Path(case.topology.file) != path.resolve():
        raise LabError(f"{file} runs on {case.topology.file}, not on {path}: `fairhop lab test` runs other scenarios")
    changes: dict[str, dict[str, Any]] = {"connections": {"count": connections}, "requests": {"rate": rate}}
    traffic = {
        name: stream.model_copy(update={k: v for k, v in changes.get(stream.kind, {}).items() if v is not None})
        for name, stream in case.scenario.traffic.items()
    }
    return replace(case, scenario=case.scenario.model_copy(update={"traffic": traffic}))
