"""A key for caches of what is made of a configuration (core: no I/O)."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Same(Generic[Value]):
    """Equal only for the same object, which it keeps: configurations are frozen, and comparing one is slow."""

    it: Value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.it is self.it

    def __hash__(self) -> int:
        return id(self.it)
