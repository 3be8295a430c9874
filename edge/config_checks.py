"""How a pool's backends are asked whether they are well: the check of a fairhop.yaml (core: no I/O)."""

from typing import Annotated, Literal

from pydantic import Field

from edge.decode import Model
from edge.scalars import Integer, Port, Seconds


class _Check(Model):
    port: Port
    interval: Seconds = 1.0
    timeout: Seconds = 0.8
    rise: Annotated[Integer, Field(ge=1, le=100)] = 2
    fall: Annotated[Integer, Field(ge=1, le=100)] = 3


class TcpCheck(_Check):
    """Up when the port accepts a connection within `timeout`."""

    type: Literal["tcp"]


class HttpCheck(_Check):
    """Up when GET `path` answers `status` within `timeout`."""

    type: Literal["http"]
    path: Annotated[str, Field(pattern=r"^/[!-~]*$")] = "/"
    status: Annotated[Integer, Field(ge=100, le=599)] = 200
    host: Annotated[str, Field(pattern=r"^[!-~]+$")] | None = None


Check = Annotated[TcpCheck | HttpCheck, Field(discriminator="type")]
