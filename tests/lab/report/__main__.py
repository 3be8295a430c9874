"""Writes a report of sample data: `python -m tests.lab.report [--large | --several] FILE.html`."""

import sys
from pathlib import Path

from lab.report import html
from tests.lab.report import sample

if __name__ == "__main__":
    make = {"--large": sample.large, "--several": sample.results}.get(sys.argv[1], sample.result)
    html.write(make(), Path(sys.argv[-1]))
