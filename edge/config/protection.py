"""What a node refuses before a service is asked: the `protection` block of a fairhop.yaml (core: no I/O)."""

from typing import Annotated

from pydantic import Field

from edge.datapath.model import UNLIMITED, Protection, Rate
from edge.text.decode import Model
from edge.text.scalars import Boolean, Integer, Port

_Packets = Annotated[Integer, Field(ge=1, le=100_000_000)]


class RateConfig(Model):
    """At most `rate` packets a second on average, and `burst` of them at once."""

    rate: _Packets
    burst: _Packets


class BlockListConfig(Model):
    """A file with one prefix a line, its path beginning where the configuration is. `dry_run`: it is only counted."""

    file: Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$")]
    dry_run: Boolean = False


class ProtectionConfig(Model):
    """Everything is off unless it is written. What a rate has forgotten lets packets through."""

    drop_private: Boolean = False
    reflection_ports: tuple[Port, ...] = ()
    per_source: RateConfig | None = None
    per_vip: RateConfig | None = None
    block_list: BlockListConfig | None = None

    @property
    def for_data_path(self) -> Protection:
        """What the data path is told; the list itself goes there apart."""
        return Protection(
            drop_private=self.drop_private,
            blocking=self.block_list is not None,
            reflection_ports=frozenset(self.reflection_ports),
            per_source=_rate(self.per_source),
            per_vip=_rate(self.per_vip),
        )


def _rate(given: RateConfig | None) -> Rate:
    return Rate(given.rate, given.burst) if given else UNLIMITED
