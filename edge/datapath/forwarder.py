"""The forwarder in the kernel: brings it to a `ForwarderState`, reads its counters, runs a packet through it.

Synchronous: a swap waits for an RCU grace period (6-16 ms for each table that changed), so an event loop calls
`apply` in a thread. All methods may be called from any thread.
"""

import struct
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge.datapath import abi, bpf, counting, xdp
from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.blocklist import BlockList
from edge.datapath.blocks import Blocks
from edge.datapath.bpf_object import BpfObject
from edge.datapath.encode import encode_directory
from edge.datapath.model import DEFAULT_TABLE_SIZE, Counted, Counters, ForwarderState
from edge.datapath.pinned import AUTO, Attachment, Blueprint, Loaded, PinnedProgram
from edge.datapath.tables import PoolBanks, write_directory
from edge.datapath.trace import NOBODY, lease_end

OBJECTS = Path(bpf.__file__).parent
_FIRST = struct.pack("=I", 0)
# Counters go on over a restart, and so does a capture, which holds the last two.
_KEPT = frozenset({abi.TOTALS, abi.SERVICE_COUNT, abi.BACKEND_COUNT, abi.TRACE_CONTROL, abi.TRACE_EVENTS})


@dataclass(frozen=True, slots=True)
class Trace:
    """What the program did with one packet: its verdict, the frame it would send, and everything it counted."""

    verdict: Verdict
    frame: bytes
    reason: Reason
    notes: tuple[Note, ...]


def run_once(loaded: Loaded, frame: bytes, ifindex: int) -> Trace:
    """Run a frame through a loaded forwarder that nothing else uses meanwhile."""
    before = counting.read_totals(loaded.maps[abi.TOTALS])
    verdict, after = loaded.program.test_run(frame, ifindex)
    counted = [new - old for new, old in zip(counting.read_totals(loaded.maps[abi.TOTALS]), before, strict=True)]
    drops, notes = counted[3 : 3 + abi.DROP_COUNT], counted[3 + abi.DROP_COUNT :]
    reason = next((reason for reason in Reason if drops[reason]), Reason.NONE)
    return Trace(Verdict(verdict), after, reason, tuple(note for note in Note if notes[note]))


def blueprint(table_size: int = DEFAULT_TABLE_SIZE, block_entries: int = 1, objects: Path = OBJECTS) -> Blueprint:
    """What to load: tables of `table_size` slots, hits of the first `block_entries` prefixes of a block list."""

    def size(opened: BpfObject) -> None:
        constant = abi.RODATA_FORMATS[abi.RODATA_TABLE_SIZE].pack(table_size)
        opened.set_rodata({abi.RODATA_TABLE_SIZE: constant})
        opened.set_inner_value_size(abi.POOLS, table_size * abi.SLOT_SIZE)
        opened.set_max_entries(abi.BLOCK_HITS, block_entries)

    return Blueprint(
        objects / abi.FORWARD_OBJECT,
        abi.FORWARD_PROGRAM,
        abi.FORWARD_MAPS,
        kept=_KEPT,
        shared=abi.OUTER_MAPS,
        configure=size,
    )


class Forwarder:
    """Owns the program on the interfaces. `close` leaves it forwarding; `detach` takes it away.

    Raises `BpfError` for what the kernel refuses and `EncodeError` for a state that the maps cannot hold; after either
    the former state is still in force, whole.
    """

    def __init__(self, pinned: PinnedProgram, table_size: int) -> None:
        self._pinned = pinned
        self._table_size = table_size
        self._maps = pinned.live.maps
        self._banks = PoolBanks(self._maps[abi.POOLS], pinned.live.inner[abi.POOLS])
        self._directory = b""
        self._installed: bytes | None = None  # the kernel's number of the directory; None while one takes its place
        self._state: ForwarderState | None = None
        self._blocks = Blocks(self._maps, pinned.live.inner)
        # A long block list takes half a second, in which a backend's health must still reach the tables.
        self._blocking, self._writing, self._reading = threading.Lock(), threading.Lock(), threading.Lock()
        self._trying = threading.Lock()  # a packet that is tried must not wait for a million counters to be read

    @classmethod
    def open(
        cls,
        pin_dir: Path,
        interfaces: Iterable[str],
        mode: str = AUTO,
        table_size: int = DEFAULT_TABLE_SIZE,
        objects: Path = OBJECTS,
        block_entries: int = 1,
    ) -> "Forwarder":
        """Load the program and attach it, or adopt the links that an earlier process pinned in `pin_dir`.

        What an earlier process left goes on forwarding with its own tables until the first `apply`. `mode`: "auto" is
        native where the driver can and generic elsewhere. `objects` has the compiled programs. Hits are counted for the
        first `block_entries` prefixes of a block list; longer ones work, uncounted.
        """
        plan = blueprint(table_size, block_entries, objects)
        return cls(PinnedProgram(pin_dir, interfaces, mode, plan), table_size)

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """How the program sits on each interface."""
        return self._pinned.attachments

    @property
    def generation(self) -> int | None:
        """The generation in force, None before this process applied one."""
        return self._state.generation if self._state else None

    @property
    def settled(self) -> bool:
        """Whether the state in force is the one of `generation`; not while `apply` swaps, nor after it was refused."""
        return self._installed is not None

    def apply(self, state: ForwarderState) -> bool:
        """Bring the data path to `state`; a packet meets the former generation or this one, whole. False: no change.

        Order: tables into the idle bank, then the directory (with the backends), then removals.
        """
        with self._writing:
            if state.table_size != self._table_size:
                raise ValueError(f"table_size {state.table_size}: expected {self._table_size}, as opened")
            interfaces = {a.ifindex: xdp.mac_address(a.interface) for a in self.attachments if a.ifindex}
            bank = self._banks.choose(state.pools)
            directory = encode_directory(state, interfaces, bank=bank)
            if directory == self._directory and len(state.pools) == self._banks.count and not self._pinned.staged:
                return False
            self._banks.install(bank, state.pools)
            self._installed = None
            write_directory(self._maps[abi.DIRECTORY], self._pinned.live.inner[abi.DIRECTORY], directory)
            self._installed = self._maps[abi.DIRECTORY].lookup(_FIRST)
            self._directory, self._state = directory, state
            if self._pinned.staged:
                self._pinned.commit()
            self._banks.committed(bank, len(state.pools))
            return True

    def block(self, wanted: BlockList | None) -> bool:
        """Put a block list in force, or none; False: it was already. The state's `protection.blocking` makes it count.

        Hits begin at 0 again. A list of a million prefixes takes seconds; until then the former one is in force.
        """
        with self._blocking:
            return self._blocks.install(wanted)

    def block_hits(self) -> Mapping[int, int]:
        """Return the packets of each prefix of the block list that met any, by `BlockList`'s number of it."""
        with self._reading:
            return self._blocks.hits()

    def digests(self) -> tuple[str, ...]:
        """Return the SHA-256 of each pool's table, read back from the kernel, in the order of `state.pools`."""
        with self._writing:
            return self._banks.digests()

    def counters(self) -> Counters:
        """Read all counters; services and backends are those of the state in force."""
        with self._reading:
            state = self._state
            services = counting.read_column(
                self._maps[abi.SERVICE_COUNT], abi.SERVICE_COUNT_FORMAT, [s.id for s in state.services] if state else []
            )
            backends = self._backend_counts(state)
            return counting.counters(
                counting.read_totals(self._maps[abi.TOTALS]),
                {number: Counted(*words) for number, words in services.items()},
                {number: Counted(*words[:2]) for number, words in backends.items()},
            )

    def tunnel_errors(self) -> Mapping[int, tuple[int, int]]:
        """Return (ICMP errors, ICMP 3/4 among them) about the tunnel to each backend of the state in force, by id."""
        with self._reading:
            return {number: (words[2], words[3]) for number, words in self._backend_counts(self._state).items()}

    def run(self, frame: bytes, ifindex: int = 0) -> Trace:
        """Run `frame` (14 bytes or more) through the program with the live tables, as received on `ifindex`.

        Nothing is sent, and the counters of the live program do not move.
        """
        with self._trying:
            return run_once(self._pinned.trial(), frame, ifindex)

    def beat(self, frame: bytes, ifindex: int = 0) -> int:
        """The XDP action of a frame, run as `run` does but without a look at counters, and without waiting for anybody.

        The first call loads the copy of the program that it runs: make it where 50 ms do no harm.
        """
        return self._pinned.trial().program.test_run(frame, ifindex)[0]

    def foreign(self) -> str:
        """What in the kernel is not as the last `apply` left it, in words; empty when all of it is.

        A few system calls of a microsecond each. Raises BpfError.
        """
        installed = self._installed
        if installed is not None and self._maps[abi.DIRECTORY].lookup(_FIRST) != installed and self._installed:
            return "the generation in the maps is not the one that was installed"
        others = self._pinned.foreign()
        return f"another program runs on {', '.join(others)}" if others else ""

    def tidy(self) -> None:
        """Forget a capture whose process died, so that the program need not read the clock for it; call it at times."""
        with self._reading:
            control = self._maps[abi.TRACE_CONTROL]
            ended = lease_end(control.lookup(_FIRST))
            if 0 < ended < time.monotonic_ns():
                control.update(_FIRST, NOBODY)

    def reattach(self) -> tuple[Attachment, ...]:
        """Attach again to interfaces that were deleted and made anew; call `apply` afterwards for their MACs."""
        with self._writing:
            return self._pinned.reattach()

    def lost(self) -> tuple[str, ...]:
        """The interfaces that the program has been taken off; also from another thread. Raises BpfError."""
        return self._pinned.lost()

    def detach(self) -> None:
        """Stop forwarding and leave nothing behind: no program, no pin. Then closed."""
        with self._blocking, self._writing, self._reading, self._trying:
            self._banks.close()
            self._pinned.detach()

    def close(self) -> None:
        """Close the descriptors; the interfaces go on forwarding with the state in force."""
        with self._blocking, self._writing, self._reading, self._trying:
            self._banks.close()
            self._pinned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _backend_counts(self, state: ForwarderState | None) -> dict[int, tuple[int, ...]]:
        ids = [backend.id for backend in state.backends] if state else []
        return counting.read_column(self._maps[abi.BACKEND_COUNT], abi.BACKEND_COUNT_FORMAT, ids)
