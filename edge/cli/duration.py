"""A length of time on the command line: 90, 90s, 15m, 2h, 1d."""

import re
from typing import Any

import click

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_FORM = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


class Duration(click.ParamType[float]):
    """Seconds, as a float, above 0."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Called by click."""
        match = _FORM.fullmatch(str(value))
        seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
        if not seconds:
            self.fail(f"{value!r}: expected a length of time above 0, such as 90, 90s, 15m, 2h or 1d", param, ctx)
        return seconds


DURATION = Duration()
