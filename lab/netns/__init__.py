"""Runs a lab without Docker: each node is a set of Linux namespaces with its own view of the host's root file system.

The package loads nothing by itself: the guardian (lab.netns.guardian) is a small process that must start fast.
"""

import typing

if typing.TYPE_CHECKING:
    from lab.netns.runtime import NetnsRuntime as NetnsRuntime

__all__ = ["NetnsRuntime"]


def __getattr__(name: str) -> typing.Any:
    if name != "NetnsRuntime":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lab.netns.runtime import NetnsRuntime  # noqa: PLC0415 - see the docstring

    return NetnsRuntime
