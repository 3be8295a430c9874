"""One step back from a fault: what a journal names, done on a running lab. Each may find its work done already."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from lab.faults import links
from lab.faults.journal import Entry, Undo
from lab.faults.site import Process, Site, alive
from lab.netns import linux
from lab.runtime import LabError

Step = Callable[[Site, str, tuple[str, ...]], None]
_DIES_WITHIN = 5.0


def undo(step: Undo, site: Site) -> None:
    """Take one step back. Raises LabError."""
    _STEPS[step.op](site, step.node, step.words)


def spared(entries: list[Entry], name: str) -> set[tuple[int, int]]:
    """(pid, start) of the processes that faults other than `name` keep stopped."""
    return {
        (int(pid), int(start))
        for entry in entries
        if entry.name != name
        for step in entry.undo
        if step.op == "continue"
        for pid, start in (word.split(":") for word in step.words)
    }


def _nft(site: Site, node: str, words: tuple[str, ...]) -> None:
    family, table = words
    if table in site.run(node, "nft", "list", "tables", family).stdout.split():
        site.must(node, "nft", "delete", "table", family, table)


def _qdisc(site: Site, node: str, words: tuple[str, ...]) -> None:
    device, where, handle = words
    if f" {handle} " in site.run(node, "tc", "qdisc", "show", "dev", device).stdout:
        site.must(node, "tc", "qdisc", "del", "dev", device, where)


def _queue_length(site: Site, node: str, words: tuple[str, ...]) -> None:
    device, length = words
    site.must(node, "ip", "link", "set", "dev", device, "txqueuelen", length)


def _link_gone(site: Site, node: str, words: tuple[str, ...]) -> None:
    (device,) = words
    if site.run(node, "ip", "link", "show", "dev", device).returncode == 0:
        site.must(node, "ip", "link", "del", "dev", device)


def _sysctl(site: Site, node: str, words: tuple[str, ...]) -> None:
    name, value = words
    site.set_sysctl(node, name, value)


def _interface(site: Site, node: str, words: tuple[str, ...]) -> None:
    links.restore(site, node, links.State.from_words(words))


def _helper(site: Site, node: str, words: tuple[str, ...]) -> None:
    (mark,) = words
    deadline = time.monotonic() + _DIES_WITHIN
    while found := site.helpers(node, mark):
        for each in found:
            with suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise LabError(f"node {node}: process {found[0].pid} of a fault does not die")
        time.sleep(0.005)


def _continue(site: Site, node: str, words: tuple[str, ...]) -> None:
    for word in words:
        pid, start = map(int, word.split(":"))
        if alive(Process(pid, start, "")):
            os.kill(pid, signal.SIGCONT)


def _start(site: Site, node: str, words: tuple[str, ...]) -> None:
    site.runtime.start(node)


def _unmount(site: Site, node: str, words: tuple[str, ...]) -> None:
    """Take away what is mounted at a path, if it is the fault's own."""
    path, mark = words
    pid = site.pid(node)
    if pid and any(line.split()[:2] == [mark, path] for line in Path(f"/proc/{pid}/mounts").read_text().splitlines()):
        site.in_root(node, lambda: linux.unmount(path))


def _remove(site: Site, node: str, words: tuple[str, ...]) -> None:
    (path,) = words

    def run() -> None:
        with suppress(FileNotFoundError):
            Path(path).rmdir()

    if site.pid(node):
        site.in_root(node, run)


_STEPS: Mapping[str, Step] = {
    "nft": _nft,
    "qdisc": _qdisc,
    "queue-length": _queue_length,
    "link-gone": _link_gone,
    "sysctl": _sysctl,
    "interface": _interface,
    "helper": _helper,
    "continue": _continue,
    "start": _start,
    "unmount": _unmount,
    "remove": _remove,
}
