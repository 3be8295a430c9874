"""One XDP program on several interfaces whose links outlive the process: adopt, replace in place, remove.

A pin directory holds `link-IFACE` (the bpf_links) and `map-NAME` (counters, so that they go on over a restart, and what
other processes read). Tables need no pin: the attached program holds its own. So an earlier program forwards with its
own tables until a new one, with new tables already filled, takes its place by BPF_LINK_UPDATE. A kill -9 between any
two steps loses no packet, and an upgrade may change the layout of every table.
"""

import errno as codes
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge.datapath import bpffs, xdp
from edge.datapath.bpf_error import BpfError, Step
from edge.datapath.bpf_map import BpfMap, MapSpec, MapType
from edge.datapath.bpf_object import BpfObject
from edge.datapath.xdp import Link, Mode, Program

AUTO = "auto"
MODES = (AUTO, *Mode)
LINK_PREFIX, _MAP_PREFIX = "link-", "map-"
# These mean "not here at all", not "not in this mode": generic mode would hide the fault.
_NO_FALLBACK = {codes.EPERM, codes.EACCES, codes.EBUSY, codes.EEXIST, codes.ENODEV}


def _leave(_: BpfObject) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What to load: the object, its program, and all its maps.

    `kept` are the maps that go on over a restart when their shape is the same. `shared` are those that a trial run
    reads of the live program; it gets new ones of the others. `configure` sizes the object before load.
    """

    path: Path
    program: str
    maps: tuple[str, ...]
    kept: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    configure: Callable[[BpfObject], None] = _leave


@dataclass(frozen=True, slots=True)
class Attachment:
    """How the program sits on one interface; `mode` None means it does not. `remark` says why not, or why generic."""

    interface: str
    ifindex: int
    mode: Mode | None
    adopted: bool
    remark: str = ""


@dataclass(slots=True)
class Loaded:
    """One loaded copy of the program, its maps, and what the inner maps of its arrays of maps must look like."""

    program: Program
    maps: Mapping[str, BpfMap]
    inner: Mapping[str, MapSpec]


class PinnedProgram:
    """Owns the descriptors; `close` lets them go and leaves everything attached, `detach` removes all of it.

    Where nothing was attached, the program is attached at once. Where an earlier process left links, `staged` is true:
    fill the maps, then `commit`. Raises `BpfError`; a failed start leaves nothing behind that was not there before.
    """

    def __init__(self, pin_dir: Path, interfaces: Iterable[str], mode: str, blueprint: Blueprint) -> None:
        if mode not in MODES:
            raise ValueError(f"mode {mode!r}: expected one of {', '.join(MODES)}")
        self.pin_dir = pin_dir
        self.interfaces = tuple(interfaces)
        self.mode = mode
        self.attachments: tuple[Attachment, ...] = ()
        self.staged = True
        self._blueprint = blueprint
        self._links: dict[str, Link] = {}
        self._looking = threading.Lock()  # over the links: `lost` is asked by a thread of its own
        self._trial: Loaded | None = None
        with ExitStack() as stack:
            bpffs.make_directory(pin_dir)
            stack.enter_context(bpffs.DirectoryLock(pin_dir))
            stack.callback(self._close_links)
            kept = {name: stack.enter_context(found) for name, found in self._open_kept().items()}
            self._live = load(stack, blueprint, kept)
            self._live_id = self._live.program.id
            if any(pin_dir.glob(f"{LINK_PREFIX}*")):
                self.attachments = tuple(self._survey(interface) for interface in self.interfaces)
            else:
                with ExitStack() as undo:
                    undo.callback(remove_pins, pin_dir)
                    self.commit()
                    undo.pop_all()
            self._stack = stack.pop_all()

    @property
    def live(self) -> Loaded:
        """The program that is, or after `commit` will be, on the interfaces."""
        return self._live

    def commit(self) -> None:
        """Put the loaded program on every interface in place of an earlier one, and take other interfaces' off."""
        with self._looking:
            self.attachments = tuple(self._attach(interface, update=True) for interface in self.interfaces)
        expected = {_link_name(interface) for interface in self.interfaces}
        for path in self.pin_dir.glob(f"{LINK_PREFIX}*"):
            if path.name not in expected:
                _remove_link(path)
        for name in self._blueprint.kept:
            path = map_path(self.pin_dir, name)
            bpffs.unpin(path)
            bpffs.pin(self._live.maps[name], path)
        self.staged = False

    def reattach(self) -> tuple[Attachment, ...]:
        """Attach again what was detached, or whose interface was made anew; what is attached stays untouched."""
        if not self.staged:
            with self._looking:
                self.attachments = tuple(self._attach(interface, update=False) for interface in self.interfaces)
        return self.attachments

    def lost(self) -> tuple[str, ...]:
        """The interfaces that the program has been taken off since `attachments` was true: one system call for each.

        The kernel sends no message of a link that is detached, so who wants to know at once has to ask.
        """
        with self._looking:
            attached = [] if self.staged else [each for each in self.attachments if each.mode]
            return tuple(each.interface for each in attached if not self._holds(each))

    def _holds(self, attachment: Attachment) -> bool:
        link = self._links.get(attachment.interface)
        return link is not None and link.ifindex == attachment.ifindex

    def trial(self) -> Loaded:
        """Return a copy of the program for test runs, loaded at the first call; it counts in maps of its own."""
        if self._trial is None:
            with ExitStack() as stack:
                shared = {name: self._live.maps[name] for name in self._blueprint.shared}
                self._trial = load(stack, self._blueprint, shared)
                self._stack.push(stack.pop_all())
        return self._trial

    def foreign(self) -> tuple[str, ...]:
        """The interfaces whose link holds another program than the live one."""
        with self._looking:
            held = {} if self.staged else self._links
            return tuple(name for name, link in held.items() if link.program_id not in (self._live_id, 0))

    def detach(self) -> None:
        """Take the program off every interface and remove every pin and the directory; then closed."""
        remove_pins(self.pin_dir)
        self.close()

    def close(self) -> None:
        """Close every descriptor; pinned links keep the program and its tables on the interfaces."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_kept(self) -> dict[str, BpfMap]:
        with BpfObject(self._blueprint.path) as opened:
            self._blueprint.configure(opened)
            specs = opened.map_specs()
        found = {}
        for name in self._blueprint.kept:
            path = map_path(self.pin_dir, name)
            if not path.exists():
                continue
            pinned = BpfMap.open_pinned(path)
            if pinned.spec == specs[name]:
                found[name] = pinned
            else:
                pinned.close()
        return found

    def _survey(self, interface: str) -> Attachment:
        """Say how an earlier process left an interface, before anything is changed."""
        ifindex = xdp.interface_index(interface)
        link = self._held(interface)
        if link is None or link.ifindex != ifindex:
            return Attachment(interface, ifindex, None, adopted=False, remark="attached with the first state")
        found = xdp.query(interface).mode
        if self.mode not in (AUTO, found):
            path = self._link_path(interface)
            fix = f"A change of mode loses packets: drain this node, remove {path}, start again; or set mode {found}"
            detail = f"it is attached in {found} mode by an earlier process, expected {self.mode}"
            raise BpfError(Step.ATTACH, f"adopt the link of {interface}", detail=detail, fix=fix)
        return Attachment(interface, ifindex, found, adopted=True)

    def _attach(self, interface: str, *, update: bool) -> Attachment:
        try:
            ifindex = xdp.interface_index(interface)
        except BpfError as error:
            if update:
                raise
            return Attachment(interface, 0, None, adopted=False, remark=str(error))
        link = self._held(interface)
        if link is None or link.ifindex != ifindex:
            self._forget(interface)
            return self._create(interface, ifindex)
        if update:
            link.update(self._live.program)
        known = next((before for before in self.attachments if before.interface == interface), None)
        remark = known.remark if known else ""
        adopted = known.adopted if known else True
        return Attachment(interface, ifindex, xdp.query(interface).mode, adopted, remark)

    def _create(self, interface: str, ifindex: int) -> Attachment:
        remark = ""
        mode = Mode.NATIVE if self.mode == AUTO else Mode(self.mode)
        try:
            link = Link.create(self._live.program, interface, mode)
        except BpfError as error:
            if self.mode != AUTO or error.errno in _NO_FALLBACK:
                raise
            remark, mode = str(error), Mode.GENERIC
            link = Link.create(self._live.program, interface, mode)
        self._links[interface] = link
        bpffs.pin(link, self._link_path(interface))
        return Attachment(interface, ifindex, mode, adopted=False, remark=remark)

    def _held(self, interface: str) -> Link | None:
        path = self._link_path(interface)
        if interface not in self._links and path.exists():
            self._links[interface] = Link.open_pinned(path)
        return self._links.get(interface)

    def _forget(self, interface: str) -> None:
        """Let go of a link whose interface was deleted: the kernel has emptied it already."""
        link = self._links.pop(interface, None)
        if link is not None:
            link.close()
        bpffs.unpin(self._link_path(interface))

    def _close_links(self) -> None:
        with self._looking:
            for link in self._links.values():
                link.close()
            self._links.clear()

    def _link_path(self, interface: str) -> Path:
        return self.pin_dir / _link_name(interface)


def remove_pins(pin_dir: Path) -> None:
    """Detach every pinned link, remove every pin and the directory. Idempotent; needs no process that made them."""
    for path in pin_dir.glob(f"{LINK_PREFIX}*"):
        _remove_link(path)
    for path in pin_dir.glob(f"{_MAP_PREFIX}*"):
        bpffs.unpin(path)
    if pin_dir.is_dir():
        pin_dir.rmdir()


def _remove_link(path: Path) -> None:
    # Removing the last pin detaches too, but only after an RCU grace period; `detach` is done when it returns.
    with Link.open_pinned(path) as link:
        link.detach()
    bpffs.unpin(path)


def map_path(pin_dir: Path, name: str) -> Path:
    """Where the map `name` is pinned: a variable's map is called after its section, and no pin may have a dot."""
    return pin_dir / (_MAP_PREFIX + name.strip(".").replace(".", "_"))


def load(stack: ExitStack, blueprint: Blueprint, given: Mapping[str, BpfMap]) -> Loaded:
    """Load a copy of the program that uses the maps `given`; its descriptors are closed with `stack`."""
    with BpfObject(blueprint.path) as opened:
        blueprint.configure(opened)
        for name, existing in given.items():
            opened.reuse(name, existing)
        nested = [name for name, spec in opened.map_specs().items() if spec.type == MapType.ARRAY_OF_MAPS]
        inner = {name: opened.inner_spec(name) for name in nested}
        opened.load(blueprint.program)
        program = stack.enter_context(opened.program(blueprint.program))
        return Loaded(program, {name: stack.enter_context(opened.map(name)) for name in blueprint.maps}, inner)


def _link_name(interface: str) -> str:
    # The kernel refuses a dot in a pin's name, and VLAN interfaces are called eth0.100.
    return LINK_PREFIX + interface.replace("%", "%25").replace(".", "%2e")
