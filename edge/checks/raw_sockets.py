"""Raw sockets for tunnel probes: opened by the daemon, inherited by the checker, which may open none itself.

Those that receive are given a filter, and the filter is locked: an unprivileged process then sees SYN-ACKs and RSTs to
the ports of probes, and echo replies, of a whole host's traffic. Those that send are one for each family, header and
all, because the source of a tunnel may be any address of `outer_source`.
"""

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from edge.checks.tunnel_packets import FIRST_PORT

_ATTACH_FILTER, _LOCK_FILTER = 26, 44  # SO_ATTACH_FILTER, SO_LOCK_FILTER (asm-generic/socket.h)
# Classic BPF (linux/bpf_common.h): load a byte or a half word, at an offset or behind X; jump; return.
_LDX_MSH, _LDB_IND, _LDH_IND, _LDB_ABS, _LDH_ABS = 0xB1, 0x50, 0x48, 0x30, 0x28
_JEQ, _JGE, _JSET, _RET = 0x15, 0x35, 0x45, 0x06
_ANSWER_FLAGS, _ALL = 0x06, 0xFFFF  # SYN, RST
_Step = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def _segments(header: bool) -> list[_Step]:
    """SYN-ACKs and RSTs to a port of probes. `header`: an IPv4 header comes first."""
    port, flags = (_LDH_IND, _LDB_IND) if header else (_LDH_ABS, _LDB_ABS)
    front = [(_LDX_MSH, 0, 0, 0)] if header else []
    return [
        *front,
        (port, 0, 0, 2),
        (_JGE, 0, 3, FIRST_PORT),
        (flags, 0, 0, 13),
        (_JSET, 0, 1, _ANSWER_FLAGS),
        (_RET, 0, 0, _ALL),
        (_RET, 0, 0, 0),
    ]


def _echoes(header: bool, kind: int) -> list[_Step]:
    """Echo replies."""
    front = [(_LDX_MSH, 0, 0, 0)] if header else []
    return [
        *front,
        (_LDB_IND if header else _LDB_ABS, 0, 0, 0),
        (_JEQ, 0, 1, kind),
        (_RET, 0, 0, _ALL),
        (_RET, 0, 0, 0),
    ]


_RECEIVERS = {
    "tcp4": (socket.AF_INET, socket.IPPROTO_TCP, _segments(header=True)),
    "tcp6": (socket.AF_INET6, socket.IPPROTO_TCP, _segments(header=False)),
    "icmp4": (socket.AF_INET, socket.IPPROTO_ICMP, _echoes(header=True, kind=0)),
    "icmp6": (socket.AF_INET6, socket.IPPROTO_ICMPV6, _echoes(header=False, kind=129)),
}
_SENDERS = {"send4": socket.AF_INET, "send6": socket.AF_INET6}


@contextmanager
def opened(*, wanted: bool = True) -> Iterator[Mapping[str, socket.socket]]:
    """The sockets by name, none unless they are wanted; closed on leaving. Raises OSError (EPERM: not root)."""
    with contextlib.ExitStack() as stack:
        made: dict[str, socket.socket] = {}
        if wanted:
            for name, (family, protocol, steps) in _RECEIVERS.items():
                made[name] = stack.enter_context(
                    socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
                )
                _filter(made[name], steps)
            for name, family in _SENDERS.items():
                raw = socket.SOCK_RAW | socket.SOCK_NONBLOCK
                made[name] = stack.enter_context(socket.socket(family, raw, socket.IPPROTO_RAW))
                _filter(made[name], [(_RET, 0, 0, 0)])
        yield made


def _filter(made: socket.socket, steps: list[_Step]) -> None:
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    # struct sock_fprog: a count, and a pointer.
    made.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HL", len(steps), ctypes.addressof(program)))
    made.setsockopt(socket.SOL_SOCKET, _LOCK_FILTER, 1)
