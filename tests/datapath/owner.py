"""Processes that own a pinned program, for tests that kill them.

`python -m tests.datapath.owner tiny PINS OBJECT VALUE`, or `... forwarder PINS` with a pickled state on stdin.
"""

import pickle
import struct
import sys
import time
from pathlib import Path

from edge.datapath.forwarder import Forwarder
from edge.datapath.pinned import AUTO, Blueprint, PinnedProgram

MAPS = ("config", "counters", "tables")


def blueprint(path: Path) -> Blueprint:
    return Blueprint(path, "tiny", MAPS, kept=frozenset({"counters"}), shared=frozenset({"config", "tables"}))


def configure(pinned: PinnedProgram, value: int) -> None:
    """Make the program answer with `value`."""
    pinned.live.maps["config"].update(struct.pack("=I", 0), struct.pack("=I", value))


def own_tiny(pins: Path, path: Path, value: int) -> PinnedProgram:
    owned = PinnedProgram(pins, ["e0"], AUTO, blueprint(path))
    configure(owned, value)
    if owned.staged:
        owned.commit()
    return owned


def own_forwarder(pins: Path) -> Forwarder:
    state = pickle.load(sys.stdin.buffer)
    owned = Forwarder.open(pins, ["e0"], AUTO, state.table_size)
    owned.apply(state)
    return owned


if __name__ == "__main__":
    kind, pin_dir, *rest = sys.argv[1:]
    held = own_tiny(Path(pin_dir), Path(rest[0]), int(rest[1])) if kind == "tiny" else own_forwarder(Path(pin_dir))
    print("ready", flush=True)
    time.sleep(60)
