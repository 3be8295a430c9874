"""A process that owns a pinned program, for tests that kill it: `python -m tests.datapath.owner PINS OBJECT VALUE`."""

import struct
import sys
import time
from pathlib import Path

from edge.datapath.pinned import AUTO, Blueprint, PinnedProgram

MAPS = ("config", "counters", "tables")


def blueprint(path: Path) -> Blueprint:
    return Blueprint(path, "tiny", MAPS, kept=frozenset({"counters"}), shared=frozenset({"config", "tables"}))


def configure(pinned: PinnedProgram, value: int) -> None:
    """Make the program answer with `value`."""
    pinned.live.maps["config"].update(struct.pack("=I", 0), struct.pack("=I", value))


if __name__ == "__main__":
    owned = PinnedProgram(Path(sys.argv[1]), ["e0"], AUTO, blueprint(Path(sys.argv[2])))
    configure(owned, int(sys.argv[3]))
    if owned.staged:
        owned.commit()
    print("ready", flush=True)
    time.sleep(60)
