"""Keeps the forwarder at what is wanted: builds tables and writes maps in a thread, one change after the other.

Installing a table waits for the kernel to be done with the old one, so none of it happens on the event loop. Only the
newest wish counts: wishes that come while one is carried out are folded into the next.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.config.file import Config
from edge.datapath.bpf_error import BpfError
from edge.datapath.encode import EncodeError
from edge.datapath.forwarder import Forwarder
from edge.datapath.model import ForwarderState, IpAddress, NextHop, Vip
from edge.decide.plan import Selection, Tables, forwarder_state
from edge.maglev import LookupTable
from edge.native import maglev

_RETRY = 1.0  # seconds after a refusal by the kernel
_LOOK_AGAIN = 1.0  # seconds between looks at whether an interface was deleted and made anew


class UnprovenError(Exception):
    """A state was installed, and the node's own packets do not become what they must."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Everything that determines the forwarder's state."""

    config: Config
    selections: Mapping[str, Selection]
    next_hops: Mapping[IpAddress, NextHop | None]
    echo_vips: frozenset[Vip]


@dataclass(frozen=True, slots=True)
class Applied:
    """What the forwarder runs: the state, and the lookup_table of each pool."""

    state: ForwarderState
    tables: Mapping[str, LookupTable]


class Forwarding:
    """Owns the `Forwarder`. `on_applied` and `on_failed(reason)` are called in the event loop.

    `verify` is called in the thread when a state was installed, and says why it does not work, or "".
    """

    def __init__(
        self,
        forwarder: Forwarder,
        on_applied: Callable[[], None],
        on_failed: Callable[[str], None],
        verify: Callable[[ForwarderState], str] = lambda _: "",
    ) -> None:
        self.forwarder = forwarder
        self._verify = verify
        self.applied: Applied | None = None
        self._on_applied, self._on_failed = on_applied, on_failed
        self._wish: Wish | None = None
        self._done: Wish | None = None
        self._changed = asyncio.Event()
        self._tables: dict[int, Tables] = {}
        self._stopping = False
        self.behind_since: float | None = None

    @property
    def current(self) -> bool:
        """Whether the forwarder runs what was wished last; also before the first wish."""
        return self._done is self._wish

    def want(self, wish: Wish) -> None:
        """Wish for a state; nothing happens when it is the one that was wished last."""
        if wish != self._wish:
            self._wish = wish
            self._fall_behind()
            self._changed.set()

    def look_again(self) -> None:
        """Something about the interfaces changed: attach again now what is not attached."""
        self._changed.set()

    def stop(self) -> None:
        """Make `run` return once the kernel has what is being written."""
        self._stopping = True
        self._changed.set()

    async def run(self) -> None:
        """Carry out wishes until stopped. Whatever succeeds after a failure ends its report."""
        untold = False
        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _LOOK_AGAIN)
            self._changed.clear()
            try:
                if await asyncio.to_thread(self._looked_after):
                    self._done = None  # the maps know nothing of the new interfaces until a write succeeds
                    self._fall_behind()
                wish = self._wish
                if wish is not None and wish is not self._done:
                    self.applied = await asyncio.to_thread(self._apply, wish)
                    self._done = wish
                    # Any progress counts: wishes that come faster than they are carried out are no staleness.
                    self.behind_since = None if self.current else asyncio.get_running_loop().time()
                    untold = True
                if untold:
                    self._on_applied()
                untold = False
            except (BpfError, EncodeError, UnprovenError) as error:
                untold = True
                self._on_failed(str(error))
                await asyncio.sleep(_RETRY)

    def _fall_behind(self) -> None:
        self.behind_since = self.behind_since or asyncio.get_running_loop().time()

    def _looked_after(self) -> bool:
        """Tidy up, and attach again to interfaces made anew; says whether the state must be applied again for them."""
        self.forwarder.tidy()
        before = self.forwarder.attachments
        return self.forwarder.reattach() != before and self.applied is not None

    def _apply(self, wish: Wish) -> Applied:
        size = wish.config.hashing.table_size
        builder = self._tables.setdefault(size, Tables(size, maglev.build))
        tables = {pool: builder.table(selection.members) for pool, selection in wish.selections.items()}
        generation = self.applied.state.generation + 1 if self.applied else 1
        state = forwarder_state(wish.config, tables, wish.next_hops, wish.echo_vips, generation)
        self.forwarder.apply(state)
        if wrong := self._verify(state):
            raise UnprovenError(f"packets do not come through the tables as they must: {wrong}")
        return Applied(state, tables)
