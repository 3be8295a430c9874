"""What a step can do, as frozen values. No I/O."""

import shlex
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from edge.text.decode import Model
from lab.scenario.bounds import Number


def words(given: Any) -> Any:
    """A command as a list of words, split as a shell would when it is one text."""
    if isinstance(given, str):
        try:
            return tuple(shlex.split(given))
        except ValueError as error:
            raise ValueError(f"not words as a shell reads them: {str(error).lower()}") from None
    return given


Nodes = Annotated[tuple[str, ...], Field(min_length=1)]


class Move(Model):
    """Base of all that a step can do; `kind` is its word in the file."""

    kind: ClassVar[str]

    def __str__(self) -> str:
        return self.kind


class _OfNodes(Move):
    nodes: Nodes

    def __str__(self) -> str:
        return f"{self.kind} {' '.join(self.nodes)}"


class Kill(_OfNodes):
    """Every process of these nodes dies at once; links keep their carrier."""

    kind: ClassVar[str] = "kill"


class Start(_OfNodes):
    """Killed nodes start again."""

    kind: ClassVar[str] = "start"


class Restart(_OfNodes):
    """Nodes stop in order and start again."""

    kind: ClassVar[str] = "restart"


class _Order(Move):
    """A drain or its end: of `nodes`, of one `vip` or one `backend` at the edges of `on` (default: every edge).

    `vip` names a service, `backend` a backend. `force` is passed on.
    """

    nodes: tuple[str, ...] = ()
    vip: str = ""
    backend: str = ""
    on: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one(self) -> "_Order":
        given = [name for name in ("nodes", "vip", "backend") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"expected one of nodes, vip and backend, not {len(given) or 'none'} of them")
        if self.on and self.nodes:
            raise ValueError("'on' goes with vip or backend: nodes are drained where they are")
        return self

    def __str__(self) -> str:
        at = f" on {' '.join(self.on)}" if self.on else ""
        if self.nodes:
            return f"{self.kind} {' '.join(self.nodes)}"
        return f"{self.kind} vip {self.vip}{at}" if self.vip else f"{self.kind} backend {self.backend}{at}"


class Drain(_Order):
    """Take out of service, so that nothing breaks."""

    kind: ClassVar[str] = "drain"
    force: bool = False


class Undrain(_Order):
    """Bring back."""

    kind: ClassVar[str] = "undrain"


class Reload(_OfNodes):
    """Edges read their file again. `exit`: the code that it must end with; 78 is a file that is refused."""

    kind: ClassVar[str] = "reload"
    exit: Annotated[int, Field(strict=True)] = 0


class Rollback(_OfNodes):
    """Edges follow the configuration from before their last reload."""

    kind: ClassVar[str] = "rollback"
    exit: Annotated[int, Field(strict=True)] = 0


class Exec(Move):
    """A command in a node. `exit`: the code that it must end with; `prints`: a text that its output must have.

    `called`: what a report calls it in place of the command.
    """

    kind: ClassVar[str] = "exec"
    node: str
    command: Annotated[tuple[str, ...], BeforeValidator(words), Field(min_length=1)]
    exit: Annotated[int, Field(strict=True)] = 0
    prints: str = ""
    called: str = ""
    timeout: Annotated[Number, Field(gt=0)] = 30.0

    def __str__(self) -> str:
        return f"{self.node}: {self.called or shlex.join(self.command)}"


class Inject(Move):
    """A fault of `lab.faults`, called `name` (its kind by default), for `lasts` seconds or until it is healed.

    `settings` are those of the fault's kind, checked when the file is read.
    """

    kind: ClassVar[str] = "fault"
    fault: str
    settings: Mapping[str, Any] = {}
    name: str = ""
    lasts: Annotated[Number, Field(gt=0)] | None = Field(None, alias="for")

    def __str__(self) -> str:
        return f"fault {self.fault} {' '.join(str(value) for value in self.settings.values())}".rstrip()


class Heal(Move):
    """Take a fault back by its name, or all of them."""

    kind: ClassVar[str] = "heal"
    name: str | Literal["all"] = "all"

    def __str__(self) -> str:
        return f"heal {self.name}"


class Nothing(Move):
    """Only time passes."""

    kind: ClassVar[str] = "nothing"


MOVES: Mapping[str, type[Move]] = {
    model.kind: model for model in (Drain, Undrain, Kill, Start, Restart, Reload, Rollback, Exec, Inject, Heal, Nothing)
}
