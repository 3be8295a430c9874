"""Keeps the block list in the kernel at what is wanted. A list that cannot be installed is told and tried again.

It has a task of its own: a million prefixes take seconds, in which tables must go on being written. A list that is not
there lets packets through, which is no reason to withdraw.
"""

import asyncio
from collections.abc import Callable

from edge.datapath.blocklist import BlockList
from edge.datapath.bpf_error import BpfError

_RETRY = 5.0  # seconds after a refusal by the kernel

Install = Callable[[BlockList | None], object]
"""`Forwarder.block`: called in a thread, one call after the other. Raises `BpfError`."""


class Blocking:
    """`tell(reason)` is called in the event loop when a list is refused, and with "" when one is in force again."""

    def __init__(self, install: Install, tell: Callable[[str], None]) -> None:
        self.installed: BlockList | None = None
        self._install, self._tell = install, tell
        self.wanted: BlockList | None = None
        self._changed = asyncio.Event()

    def want(self, wanted: BlockList | None) -> None:
        """Wish for a list, or for none; only the newest wish counts."""
        self.wanted = wanted
        self._changed.set()

    async def run(self) -> None:
        """Carry out wishes until cancelled."""
        refused = ""
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = self.wanted
            try:
                await asyncio.to_thread(self._install, wanted)
                self.installed, reason = wanted, ""
            except BpfError as error:
                reason = str(error)
                asyncio.get_running_loop().call_later(_RETRY, self._changed.set)
            if reason != refused:
                self._tell(reason)
            refused = reason
