"""From values to places: axes with round ticks, numbers with units, percentiles. No I/O."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """Values `low` to `high` on pixels `start` to `end`; `log`: decades of equal width (values above 0)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value; what lies outside is put on the border."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def ticks(high: float, count: int) -> list[float]:
    """About `count` round numbers from 0 to `high`."""
    if high <= 0:
        return [0.0]
    raw = high / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in _STEPS if power * factor >= raw * 0.999)
    return [index * step for index in range(int(high / step * 1.0001) + 1)]


def nice(high: float) -> float:
    """A round number that is not below `high`."""
    if high <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(high))
    return next(power * factor for factor in (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0) if power * factor >= high)


def decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten between two values above 0."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    marks = [m * 10.0**power for power in range(first, last + 1) for m in (1, 2, 5)]
    return [mark for mark in marks if low * 0.999 <= mark <= high * 1.001]


def quantity(value: float) -> str:
    """A number for people: thousands as k, millions as M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """A duration for people: milliseconds below one second."""
    if value is None:
        return "-"
    if value == 0:
        return "0 s"
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.2f} s" if value < 100 else f"{value:.0f} s"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed. ValueError when there is none."""
    if not values:
        raise ValueError("a percentile of nothing")
    return sorted(values)[max(math.ceil(share * len(values) - 1e-9), 1) - 1]
