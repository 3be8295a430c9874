"""A bound of an expectation: a number that a value must have, or the least and the most that it may be. No I/O."""

from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from edge.text.decode import Model

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Limits(Model):
    """`min` and `max`, both included; at least one is given. In a file a plain number is both, of a time the most."""

    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _sane(self) -> "Limits":
        if self.min is None and self.max is None:
            raise ValueError("expected a number, or {min: N}, {max: N} or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max, so nothing could pass")
        return self

    def hold(self, value: float) -> bool:
        """Whether a value is within; a value that is no number never is."""
        above = self.min is None or value >= self.min
        below = self.max is None or value <= self.max
        return above and below and value == value  # noqa: PLR0124 - a NaN is the one value that is not itself

    def shown(self, unit: str = "") -> str:
        """In words, such as '0', 'at most 0.3 s', 'from 0.3 to 0.7'; `unit` ms or % scales the numbers."""
        if self.min == self.max and self.min is not None:
            return shown(self.min, unit)
        if self.min is None:
            return f"at most {shown(self.max or 0.0, unit)}"
        if self.max is None:
            return f"at least {shown(self.min, unit)}"
        return f"from {shown(self.min, unit)} to {shown(self.max, unit)}"


def shown(value: float, unit: str = "") -> str:
    """A number for people. `unit`: "" for counts, "ms" for seconds shown as milliseconds, "%" for shares of one."""
    if unit == "ms":
        return f"{value * 1000:.0f} ms"
    if unit == "%":
        return f"{value * 100:.1f} %"
    return f"{value:g}" if value != int(value) else f"{int(value)}"


def _from_number(value: Any, *, both: bool) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | dict | Limits):
        raise ValueError("expected a number, or {min: N}, {max: N} or both")
    if not isinstance(value, int | float):
        return value
    return {"min": value, "max": value} if both else {"max": value}


Bound = Annotated[Limits, BeforeValidator(partial(_from_number, both=True))]
Time = Annotated[Limits, BeforeValidator(partial(_from_number, both=False))]  # no measured time is exactly a number
