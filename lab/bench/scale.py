"""The price of scale: ns/packet of TCP over IPv4 as services and backends grow. Packets go to all services alike."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from lab.bench.cases import MANY, SPREAD
from lab.bench.figures import Figure, Verdict
from lab.bench.harness import Subject
from lab.bench.packets import Amount, Measurement
from lab.bench.world import Scale, state

BASE = Scale(services=1, backends=10)
MORE_SERVICES = (Scale(100, 10), Scale(4000, 10))
MORE_BACKENDS = (Scale(1, 1000), Scale(1, 4000))
LARGEST = Scale(4000, 4000)
FLAT = 15.0  # percent


@dataclass(frozen=True, slots=True)
class ScaleRow:
    """What a packet costs at one scale; `more` is by how much that is above the smallest scale, round by round."""

    scale: Scale
    net: Figure
    more: Figure

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "services": self.scale.services,
            "backends": self.scale.backends,
            "net": self.net.to_json(),
            "more": self.more.to_json(),
        }

    def verdicts(self) -> Iterator[Verdict]:
        """Growing one of the two must cost next to nothing; both at once is told without a target."""
        if self.scale in MORE_SERVICES + MORE_BACKENDS:
            name = f"tcp4, {self.scale.services} services, {self.scale.backends} backends, above 1 and 10"
            yield Verdict(name, self.more, FLAT)


def measure(
    amount: Amount, tell: Callable[[str], None], grown: Sequence[Scale] = (*MORE_SERVICES, *MORE_BACKENDS, LARGEST)
) -> list[ScaleRow]:
    """All scales in interleaved rounds, 64 k flows each. Raises `BenchError`, `BpfError`."""
    scales = (BASE, *grown)
    with ExitStack() as held:
        states = [state(scale) for scale in scales]
        running = [Measurement(SPREAD, MANY, scale.services) for scale in scales]
        for each in running:
            held.callback(each.close)
        for number in range(amount.rounds):
            tell(f"scale: round {number + 1} of {amount.rounds}")
            for wanted, each in zip(states, running, strict=True):
                each.round(held.enter_context(Subject(wanted)), amount.repeat)
        base = running[0].nets()
        return [
            ScaleRow(
                scale,
                Figure.of(each.nets()),
                Figure.of((100 * (net / least - 1) for net, least in zip(each.nets(), base, strict=True)), "%"),
            )
            for scale, each in zip(scales, running, strict=True)
        ]
