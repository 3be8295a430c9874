"""Writes what is made from data of tests: `python -m tests.lab.report [--large | --several] FILE.html`, or `--schema`."""

import json
import sys
from pathlib import Path

from lab.report import html, result
from tests.lab.report import sample

if __name__ == "__main__":
    if sys.argv[1] == "--schema":
        Path(result.__file__).with_name("schema.json").write_text(json.dumps(result.schema(), indent=1) + "\n")
    else:
        make = {"--large": sample.large, "--several": sample.results}.get(sys.argv[1], sample.result)
        html.write(make(), Path(sys.argv[-1]))
