"""The block list in the kernel: longest-prefix tries that are built beside the live ones and swapped in, and its hits.

A trie of a million prefixes takes half a second even when it is filled by few calls, so a list that is in force already
is left alone.
"""

import struct
from array import array
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

from edge.datapath import abi
from edge.datapath.blocklist import BlockList
from edge.datapath.bpf_error import BpfError
from edge.datapath.bpf_map import BpfMap, MapSpec

_FIRST = struct.pack("=I", 0)
_ENOENT = 2
_WORD = 8
_QUIET = 4096  # values that are looked at together for being zero


class Blocks:
    """The two tries of a loaded forwarder. Not for use by two threads at a time."""

    def __init__(self, maps: Mapping[str, BpfMap], inner: Mapping[str, MapSpec]) -> None:
        self._maps, self._inner = maps, inner
        self._digest = ""

    def install(self, wanted: BlockList | None) -> bool:
        """Put a list in force, or none. False: it was in force already. Raises `BpfError`.

        The former list stays in force until the new one is filled. IPv4 and IPv6 follow each other within milliseconds.
        Hits are counted from 0 again, since they go by the number of a prefix in its list.
        """
        digest = wanted.digest if wanted else ""
        if digest == self._digest:
            return False
        with ExitStack() as stack:
            made: dict[str, BpfMap | None] = {
                name: stack.enter_context(self._filled(name, keys, first, wanted.dry_run)) if wanted and keys else None
                for name, keys, first in _families(wanted)
            }
            self._digest = "?"  # of neither list, should a swap be refused between the two
            for name, trie in made.items():
                self._put(name, trie)
        self._digest = digest
        self._forget_hits()
        return True

    def hits(self) -> dict[int, int]:
        """Packets by the number of the prefix that they met, without those of none. As many as `abi.BLOCK_HITS` has."""
        words_each = self._maps[abi.BLOCK_HITS].element_size // _WORD
        found: dict[int, int] = {}
        first = 0
        for part in self._maps[abi.BLOCK_HITS].values():
            words = array("Q", part)
            for at in range(0, len(words), _QUIET * words_each):
                some = words[at : at + _QUIET * words_each]
                if any(some):
                    sums = [sum(some[each : each + words_each]) for each in range(0, len(some), words_each)]
                    found.update((first + at // words_each + index, count) for index, count in enumerate(sums) if count)
            first += len(words) // words_each
        return found

    def _filled(self, name: str, keys: bytes, first: int, dry_run: bool) -> BpfMap:
        spec = self._inner[name]
        count = len(keys) // spec.key_size
        start = first | (abi.BLOCK_DRY_RUN if dry_run else 0)
        made = BpfMap.create(replace(spec, max_entries=count), name)
        try:
            made.update_all(keys, array("I", range(start, start + count)).tobytes())
        except BaseException:
            made.close()
            raise
        return made

    def _put(self, name: str, trie: BpfMap | None) -> None:
        if trie is not None:
            self._maps[name].put_map(_FIRST, trie)
            return
        try:
            self._maps[name].delete(_FIRST)
        except BpfError as error:
            if error.errno != _ENOENT:  # there was none
                raise

    def _forget_hits(self) -> None:
        counted = self.hits()
        hits = self._maps[abi.BLOCK_HITS]
        hits.update_all(array("I", counted).tobytes(), bytes(hits.element_size * len(counted)))


def _families(wanted: BlockList | None) -> tuple[tuple[str, bytes, int], ...]:
    """Map, keys, and the number of the first prefix, of each family."""
    if wanted is None:
        return ((abi.BLOCKED4, b"", 0), (abi.BLOCKED6, b"", 0))
    return ((abi.BLOCKED4, wanted.keys4, 0), (abi.BLOCKED6, wanted.keys6, wanted.count4))
