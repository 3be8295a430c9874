"""Makes a wall clock jump, for programs that node-start has started with the clock library."""

import struct
from pathlib import Path

from lab.faults.act import Act
from lab.faults.model_nodes import ClockJump
from lab.faults.site import Site
from lab.runtime import LabError

FOLDER = "/run/clock"
_OFFSET = struct.Struct("=q")  # nanoseconds


def clock_jump(act: Act, fault: ClockJump) -> str:
    """Write another offset into the file that each program has mapped."""
    node = fault.node
    clocks = {name: value for name, value in read(act.site, node).items() if fault.process in name}
    if not clocks:
        known = ", ".join(read(act.site, node))
        raise LabError(
            f"node {node} has no clock of its own{f' for {fault.process!r}, only for {known}' if known else ''}: "
            "give it FAIRHOP_CLOCK in its env, the path of the library that `python -m lab.faults.clock` prints"
        )
    act.before("clock", node, *(f"{name}={value}" for name, value in clocks.items()))
    write(act.site, node, {name: value + round(fault.seconds * 1e9) for name, value in clocks.items()})
    return f"the wall clock of {', '.join(clocks)} of {node} is {fault.seconds:+g} s off from where it was"


def read(site: Site, node: str) -> dict[str, int]:
    """Program -> the offset of its wall clock in ns; of the programs that have one of their own."""

    def run() -> dict[str, int]:
        return {each.name: _OFFSET.unpack(each.read_bytes())[0] for each in sorted(Path(FOLDER).glob("*"))}

    return site.in_root(node, run)


def write(site: Site, node: str, offsets: dict[str, int]) -> None:
    """Set them, each in one store, so that no program sees half of one."""

    def run() -> None:
        for name, offset in offsets.items():
            with Path(FOLDER, name).open("r+b", buffering=0) as file:
                file.write(_OFFSET.pack(offset))

    site.in_root(node, run)
