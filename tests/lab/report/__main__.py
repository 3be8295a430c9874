"""Makes what documents and tests show: `python -m tests.lab.report ...`.

`FILE.html`, `--large FILE.html`, `--several FILE.html`: a report of sample data. `--picture FILE.png [RESULT.json]`:
the first screens of a report, as a picture. `--schema`: lab/report/schema.json.
"""

import json
import sys
import tempfile
from pathlib import Path

from lab.report import html, result
from tests import browser
from tests.lab.report import sample

_SCREENS = 2000  # pixels of the page that the picture shows


def picture(output: Path, document: sample.Json) -> None:
    """The top of the report: verdict, topology, distribution."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        html.write(document, page)
        with browser.tab(Path(folder, "profile"), height=_SCREENS) as tab:
            tab.page.goto(page.as_uri())
            output.parent.mkdir(parents=True, exist_ok=True)
            tab.page.screenshot(path=output)


def main(arguments: list[str]) -> None:
    """Do what the words say."""
    match arguments:
        case ["--schema"]:
            Path(result.__file__).with_name("schema.json").write_text(json.dumps(result.schema(), indent=1) + "\n")
        case ["--picture", output]:
            picture(Path(output), sample.result())
        case ["--picture", output, file]:
            picture(Path(output), json.loads(Path(file).read_text()))
        case ["--large", output]:
            html.write(sample.large(), Path(output))
        case ["--several", output]:
            html.write(sample.results(), Path(output))
        case [output]:
            html.write(sample.result(), Path(output))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
