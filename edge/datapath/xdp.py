"""XDP programs and what ties them to interfaces: test runs, bpf_links that outlive their maker, netlink attach."""

import ctypes
import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edge.datapath.bpf_error import BpfError, Step
from edge.datapath.libbpf import Handle, LinkCreateOpts, TestRunOpts, XdpQueryOpts, call, info, options

_SIOCGIFHWADDR = 0x8927
_BPF_XDP = 37  # enum bpf_attach_type
_FLAG_NO_REPLACE = 1  # XDP_FLAGS_UPDATE_IF_NOEXIST
_HEADROOM = 256
_PROGRAM_INFO_BYTES = 80
_PROGRAM_NAME_AT = 64
_LINK_INFO_BYTES = 32
_LINK_IFINDEX_AT = 16
_LINK_PROGRAM_AT = 8


class Mode(StrEnum):
    """How a program sits on an interface: in the driver (native) or after the skb was made (generic)."""

    NATIVE = "native"
    GENERIC = "generic"


_MODE_FLAGS = {Mode.GENERIC: 2, Mode.NATIVE: 4}  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE
_ATTACHED_MODES = {1: Mode.NATIVE, 2: Mode.GENERIC}  # XDP_ATTACHED_DRV, XDP_ATTACHED_SKB


@dataclass(frozen=True, slots=True)
class Attached:
    """What the kernel says about an interface; `mode` is None when it has no XDP program."""

    mode: Mode | None
    program_id: int


class Program(Handle):
    """A loaded XDP program."""

    @property
    def id(self) -> int:
        """The kernel's number of this program, as `bpftool prog` prints it."""
        return int.from_bytes(info(Step.RUN, "read a program's id", self.fileno(), 8)[4:8], "little")

    def test_run(self, frame: bytes, ifindex: int = 0) -> tuple[int, bytes]:
        """Run once over `frame` (14 bytes or more, Ethernet first); nothing is sent. Returns (XDP action, frame after).

        `ifindex` becomes the ingress interface that the program sees; 0 leaves the loopback's.
        """
        data = ctypes.create_string_buffer(frame, len(frame))
        out = ctypes.create_string_buffer(len(frame) + _HEADROOM)
        context = struct.pack("=6I", 0, len(frame), 0, ifindex, 0, 0)  # struct xdp_md
        context_buffer = ctypes.create_string_buffer(context, len(context))
        run = options(
            TestRunOpts,
            data_in=ctypes.addressof(data),
            data_size_in=len(frame),
            data_out=ctypes.addressof(out),
            data_size_out=len(out),
            ctx_in=ctypes.addressof(context_buffer) if ifindex else None,
            ctx_size_in=len(context) if ifindex else 0,
            repeat=1,
        )
        attempted = f"run the XDP program over a frame of {len(frame)} bytes from ifindex {ifindex}"
        call(Step.RUN, attempted, "bpf_prog_test_run_opts", self.fileno(), ctypes.byref(run))
        return run.retval, out.raw[: run.data_size_out]


class Link(Handle):
    """A bpf_link: holds a program on an interface while a descriptor or a pin refers to it."""

    @classmethod
    def create(cls, program: Program, interface: str, mode: Mode) -> "Link":
        """Attach `program` to `interface` of the calling thread's network namespace; never replaces another program."""
        attempted = f"attach XDP to {interface} in {mode} mode"
        ifindex = interface_index(interface)
        made = options(LinkCreateOpts, flags=_MODE_FLAGS[mode])
        try:
            fd = call(
                Step.ATTACH, attempted, "bpf_link_create", program.fileno(), ifindex, _BPF_XDP, ctypes.byref(made)
            )
        except BpfError as error:
            raise BpfError(Step.ATTACH, attempted, error.errno, _describe(interface, ifindex)) from error
        return cls(fd)

    @classmethod
    def open_pinned(cls, path: Path) -> "Link":
        """Adopt the link pinned at `path`."""
        return cls(call(Step.PIN, f"open the pinned link {path}", "bpf_obj_get", os.fsencode(path)))

    @property
    def ifindex(self) -> int:
        """The interface it holds; 0 once that was deleted."""
        return self._word(_LINK_IFINDEX_AT)

    @property
    def program_id(self) -> int:
        """The program it holds on the interface."""
        return self._word(_LINK_PROGRAM_AT)

    def update(self, program: Program) -> None:
        """Replace the program in place (BPF_LINK_UPDATE): no packet is lost."""
        call(Step.ATTACH, "replace the program of a link", "bpf_link_update", self.fileno(), program.fileno(), None)

    def detach(self) -> None:
        """Take the program off the interface at once; an interface that is gone already is no error."""
        call(Step.ATTACH, "detach a link", "bpf_link_detach", self.fileno())

    def _word(self, at: int) -> int:
        raw = info(Step.ATTACH, "read what a link holds", self.fileno(), _LINK_INFO_BYTES)
        return int.from_bytes(raw[at : at + 4], "little")


def interface_index(interface: str) -> int:
    """Return the ifindex of a name in the calling thread's network namespace. Raises `BpfError` when there is none."""
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        known = ", ".join(name for _, name in socket.if_nameindex())
        raise BpfError(Step.ATTACH, f"find interface {interface}", error.errno or 0, f"known here: {known}") from error


def mac_address(interface: str) -> bytes:
    """Return the six bytes of an interface's own MAC. Raises `BpfError` when there is none of that name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("256s", interface.encode()[:15])
        try:
            answer = fcntl.ioctl(any_socket, _SIOCGIFHWADDR, request)
        except OSError as error:
            raise BpfError(Step.ATTACH, f"read the MAC of {interface}", error.errno or 0) from error
    return answer[18:24]


def query(interface: str) -> Attached:
    """Ask the kernel whether and how XDP is attached to `interface`."""
    found = options(XdpQueryOpts)
    attempted = f"ask how XDP is attached to {interface}"
    call(Step.ATTACH, attempted, "bpf_xdp_query", interface_index(interface), 0, ctypes.byref(found))
    return Attached(_ATTACHED_MODES.get(found.attach_mode), found.prog_id)


def attach(program: Program, interface: str, mode: Mode = Mode.NATIVE) -> None:
    """Attach by netlink, without a link: stays until `detach` or the interface goes. Never replaces another program."""
    flags = _MODE_FLAGS[mode] | _FLAG_NO_REPLACE
    attempted = f"attach XDP to {interface} in {mode} mode by netlink"
    call(Step.ATTACH, attempted, "bpf_xdp_attach", interface_index(interface), program.fileno(), flags, None)


def detach(interface: str, mode: Mode = Mode.NATIVE) -> None:
    """Remove what `attach` put there. Raises `BpfError` (EBUSY) when a link holds the interface."""
    attempted = f"detach XDP from {interface} in {mode} mode by netlink"
    call(Step.ATTACH, attempted, "bpf_xdp_detach", interface_index(interface), _MODE_FLAGS[mode], None)


def _describe(interface: str, ifindex: int) -> str:
    """Say what holds an interface that refused a link, as far as the kernel tells."""
    found = query(interface)
    state = f"{interface} has ifindex {ifindex}"
    if found.mode is None:
        return state
    return f"{state} and carries program id {found.program_id}{_program_name(found.program_id)} in {found.mode} mode"


def _program_name(program_id: int) -> str:
    try:
        fd = call(Step.ATTACH, "open a program", "bpf_prog_get_fd_by_id", program_id)
    except BpfError:  # needs CAP_SYS_ADMIN: the number alone must do
        return ""
    with Program(fd) as program:
        raw = info(Step.ATTACH, "read a program's name", program.fileno(), _PROGRAM_INFO_BYTES)
    name = raw[_PROGRAM_NAME_AT:].rstrip(b"\0").decode(errors="replace")
    return f" ({name})"
