"""One row of the packet tables: which catalogue ids it covers, what it is, its frames, and what must become of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.datapath.expect import Expectation


@dataclass(frozen=True)
class Row:
    """`frames` builds when the test runs; every frame must meet the same expectation.

    `world` names the state of `world.STATES` (decapsulator: `world.DECAP_STATES`) in which it does.
    """

    ids: str
    text: str
    frames: Callable[[], bytes | Iterable[bytes]]
    expect: Expectation
    world: str = "plain"

    @property
    def name(self) -> str:
        """The test's id: the catalogue ids first."""
        return f"{self.ids.replace(' ', '-')}: {self.text}"

    def build(self) -> list[bytes]:
        """The frames, at least one."""
        built = self.frames()
        frames = [built] if isinstance(built, bytes) else list(built)
        assert frames, f"row {self.name} has no frame"
        return frames
