"""A forwarder that is loaded, filled and attached to nothing: for offline questions, and pinned for test runs."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from edge.datapath import abi, bpffs
from edge.datapath.blocklist import BlockList
from edge.datapath.blocks import Blocks
from edge.datapath.bpf_error import BpfError, Step
from edge.datapath.encode import encode_directory
from edge.datapath.forwarder import OBJECTS, Trace, blueprint, run_once
from edge.datapath.model import ForwarderState
from edge.datapath.pinned import LINK_PREFIX, load, map_path
from edge.datapath.tables import PoolBanks, write_directory

PROGRAM_PIN = "program"
_NEW = "-new"


class LoadedForwarder:
    """Holds one state and a block list. `close` gives it back to the kernel, which keeps what was pinned.

    `interfaces` maps ifindex -> MAC, as for `encode`. Raises `BpfError` and `EncodeError`.
    """

    def __init__(
        self,
        state: ForwarderState,
        interfaces: Mapping[int, bytes],
        blocked: BlockList | None = None,
        objects: Path = OBJECTS,
    ) -> None:
        entries = blocked.count4 + blocked.count6 if blocked else 0
        with ExitStack() as stack:
            self._loaded = load(stack, blueprint(state.table_size, max(entries, 1), objects), {})
            maps, inner = self._loaded.maps, self._loaded.inner
            Blocks(maps, inner).install(blocked)
            banks = PoolBanks(maps[abi.POOLS], inner[abi.POOLS])
            stack.callback(banks.close)
            banks.install(0, state.pools)
            write_directory(maps[abi.DIRECTORY], inner[abi.DIRECTORY], encode_directory(state, interfaces, bank=0))
            self._stack = stack.pop_all()

    def run(self, frame: bytes, ifindex: int = 0) -> Trace:
        """Run `frame` through it, as received on `ifindex` (0: the loopback). It counts like any other packet."""
        return run_once(self._loaded, frame, ifindex)

    def pin(self, pin_dir: Path) -> tuple[Path, ...]:
        """Pin program and maps in `pin_dir` in place of what `pin` left there; each name changes in one step.

        Raises `BpfError` when a forwarder that is on interfaces is pinned there.
        """
        bpffs.make_directory(pin_dir)
        with bpffs.DirectoryLock(pin_dir):
            _refuse_attached(pin_dir)
            places = {map_path(pin_dir, name): held for name, held in self._loaded.maps.items()}
            for path, held in {**places, pin_dir / PROGRAM_PIN: self._loaded.program}.items():
                fresh = path.with_name(path.name + _NEW)
                bpffs.unpin(fresh)  # of a process that was killed here
                bpffs.pin(held, fresh)
                fresh.rename(path)
        return (pin_dir / PROGRAM_PIN, *places)

    def close(self) -> None:
        """Close the descriptors."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def unload(pin_dir: Path) -> bool:
    """Remove what `LoadedForwarder.pin` left, and the directory; False: there was nothing. Raises `BpfError`."""
    if not pin_dir.is_dir():
        return False
    with bpffs.DirectoryLock(pin_dir):
        _refuse_attached(pin_dir)
        ours = {map_path(pin_dir, name).name for name in abi.FORWARD_MAPS} | {PROGRAM_PIN}
        for path in pin_dir.iterdir():
            if path.name.removesuffix(_NEW) not in ours:
                detail = f"{path.name} is none of its pins"
                raise BpfError(Step.PIN, f"unload the forwarder of {pin_dir}", detail=detail)
        for path in pin_dir.iterdir():
            bpffs.unpin(path)
        pin_dir.rmdir()
    return True


def _refuse_attached(pin_dir: Path) -> None:
    held = sorted(path.name.removeprefix(LINK_PREFIX) for path in pin_dir.glob(f"{LINK_PREFIX}*"))
    if held:
        detail = f"a forwarder that is attached to {', '.join(held)} is pinned there"
        raise BpfError(Step.PIN, f"use the pin directory {pin_dir}", detail=detail, fix="Use another pin directory")
