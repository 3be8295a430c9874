"""The hand that makes one fault: it writes each step back into the journal before the step is taken."""

import re
import time
import zlib
from dataclasses import replace

from lab.faults.journal import Entry, Journal, Undo
from lab.faults.site import Site


class Act:
    """One fault in the making, `name` on the lab of `site`."""

    def __init__(self, site: Site, journal: Journal, entry: Entry) -> None:
        self.site = site
        self.entry = entry
        self._journal = journal

    @property
    def name(self) -> str:
        """The fault's name."""
        return self.entry.name

    @property
    def mark(self) -> str:
        """A word that only this fault uses: a name of nft tables, and in the command lines of helpers."""
        plain = re.sub(r"\W", "_", self.name)[:20]
        return f"fault_{plain}_{zlib.crc32(self.name.encode()):08x}"

    def begins(self) -> None:
        """What is done next is the first that can be felt: the fault stands from now on, not since it was asked for."""
        self.entry = replace(self.entry, since=time.monotonic())

    def before(self, op: str, node: str, *words: str) -> None:
        """Write down how to undo what is done next."""
        if not self.entry.undo:
            self.begins()
        places = {**(self.entry.places or {}), node: self.site.place(node)}
        self.entry = replace(self.entry, undo=(*self.entry.undo, Undo(op, node, words)), places=places)
        self._journal.put(self.entry)

    def others(self) -> list[Entry]:
        """The faults that the lab has besides."""
        return [entry for entry in self._journal.entries() if entry.name != self.name]

    def nft(self, node: str, family: str, chains: str) -> None:
        """Add chains to a table of this fault's own."""
        self.before("nft", node, family, self.mark)
        self.site.must(node, "nft", "-f", "-", feed=f"table {family} {self.mark} {{\n{chains}\n}}\n")

    def helper(self, node: str, program: str, *arguments: str) -> str:
        """Start a helper; what it said."""
        self.before("helper", node, self.mark)
        return self.site.start_helper(node, program, self.mark, *arguments)
