"""What kernel tests stand on: private network namespaces, a private bpffs, and a small XDP object of their own."""

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

PREFIX = "fh-bpf-"
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
_libc = ctypes.CDLL(None, use_errno=True)

TINY_C = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct config { __u32 value; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, struct config); }
    config SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, __u64); }
    counters SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __uint(key_size, 4); __uint(value_size, 8); };
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); __uint(key_size, 4); __uint(value_size, 4);
    __array(values, struct inner); } tables SEC(".maps");
const volatile __u32 marker = 1;
const volatile __u16 first_slot = 7;
char LICENSE[] SEC("license") = "GPL";

/* Sends frames whose last MAC byte is 0x5a back where they came from, with `marker` (or the table's first slot, or
   config[0]) and the ingress interface written over bytes 14..21; passes the rest. */
SEC("xdp") int tiny(struct xdp_md *ctx)
{
    unsigned char *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __u32 zero = 0;
    __u64 *seen = bpf_map_lookup_elem(&counters, &zero);
    if (at + 22 > end || at[5] != 0x5a)
        return XDP_PASS;
    if (seen)
        *seen += 1;
    __u32 tell = marker + first_slot;
    void *table = bpf_map_lookup_elem(&tables, &zero);
    __u16 *slots = table ? bpf_map_lookup_elem(table, &zero) : 0;
    struct config *configured = bpf_map_lookup_elem(&config, &zero);
    if (slots && slots[0])
        tell = slots[0];
    else if (configured && configured->value)
        tell = configured->value;
    __builtin_memcpy(at + 14, &tell, 4);
    __u32 ingress = ctx->ingress_ifindex;
    __builtin_memcpy(at + 18, &ingress, 4);
    return XDP_TX;
}
SEC("xdp") int pass_all(struct xdp_md *ctx) { return XDP_PASS; }
"""
REFUSED_C = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
SEC("xdp") int tiny(struct xdp_md *ctx)
{
    unsigned char *at = (void *)(long)ctx->data;
    return at[30];
}
"""


def compile_c(source: str, directory: Path, name: str = "tiny", *flags: str) -> Path:
    """Compile BPF C to `directory/name.bpf.o`."""
    clang = shutil.which("clang-14") or shutil.which("clang")
    assert clang, "clang is needed to compile the test's BPF program: apt install clang-14"
    text, out = directory / f"{name}.bpf.c", directory / f"{name}.bpf.o"
    text.write_text(source)
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    subprocess.run([clang, "-O2", "-g", "-target", "bpf", include, *flags, "-c", text, "-o", out], check=True)
    return out


def ip(*words: str) -> str:
    """Run iproute2's ip and return what it printed."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


@dataclass
class Namespace:
    """A named network namespace of this test; `delete` also ends with its links."""

    name: str = field(default_factory=lambda: f"{PREFIX}{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        with self.inside():  # its neighbour discovery would be counted with the test's own packets
            Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")

    @property
    def path(self) -> Path:
        return Path("/run/netns") / self.name

    def delete(self) -> None:
        ip("netns", "delete", self.name)

    def ip(self, *words: str) -> str:
        return ip("-n", self.name, *words)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Move the calling thread into the namespace and back."""
        with Path("/proc/thread-self/ns/net").open() as home, self.path.open() as there:
            enter(there.fileno())
            try:
                yield
            finally:
                enter(home.fileno())


def enter(descriptor: int) -> None:
    """Move the calling thread into a network namespace by descriptor."""
    assert _libc.setns(descriptor, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def veth(left: Namespace, left_name: str, right: Namespace, right_name: str, mtu: int = 1500) -> None:
    """Join two namespaces by a veth pair with offloads off, both ends up."""
    size = ("mtu", str(mtu))
    ends = ("link", "add", left_name, *size, "type", "veth", "peer", "name", right_name, *size, "netns", right.name)
    left.ip(*ends)
    for where, name in ((left, left_name), (right, right_name)):
        off = ["ethtool", "-K", name, "tso", "off", "gso", "off", "gro", "off", "tx", "off"]
        with where.inside():
            subprocess.run(off, check=True, capture_output=True)
        where.ip("link", "set", name, "up")


@contextlib.contextmanager
def bpffs() -> Iterator[Path]:
    """Mount a bpffs of this test's own; not below pytest's directory, which another run may rename meanwhile."""
    at = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        subprocess.run(["mount", "-t", "bpf", "bpf", str(at)], check=True)
        try:
            yield at
        finally:
            subprocess.run(["umount", str(at)], check=True)
    finally:
        at.rmdir()


@contextlib.contextmanager
def packet_socket(where: Namespace, interface: str) -> Iterator[socket.socket]:
    """Open a raw socket on an interface of another namespace."""
    with where.inside():
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)  # a slow reader must not look like a lost frame
        raw.bind((interface, 0))
    with raw:
        raw.settimeout(2)
        yield raw


class Stream:
    """Sends frames numbered from 1 out of one interface in a thread and collects those that come back."""

    def __init__(self, raw: socket.socket, head: bytes, number_at: int, gap: float = 0.0005) -> None:
        self._raw, self._head, self._at, self._gap = raw, head, number_at, gap
        self._stop = threading.Event()
        self._sender = threading.Thread(target=self._send)
        self._receiver = threading.Thread(target=self._receive)
        self.sent = 0
        self.returned: set[int] = set()

    def __enter__(self) -> Self:
        self._receiver.start()
        self._sender.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._sender.join()
        until = time.monotonic() + 2
        while self.lost and time.monotonic() < until:
            time.sleep(0.01)
        self._raw.close()
        self._receiver.join()

    @property
    def lost(self) -> int:
        """Frames sent that did not come back so far."""
        return self.sent - len(self.returned - {0})

    def more(self, count: int) -> None:
        """Wait until that many further frames were sent, however busy the machine is."""
        target, until = self.sent + count, time.monotonic() + 60
        while self.sent < target:
            assert time.monotonic() < until, "the sender stands still"
            time.sleep(0.005)

    def _send(self) -> None:
        while not self._stop.is_set():
            number = (self.sent + 1).to_bytes(4, "big")
            self._raw.send(self._head[: self._at] + number + self._head[self._at + 4 :])
            self.sent += 1
            time.sleep(self._gap)

    def _receive(self) -> None:
        self._raw.settimeout(0.1)
        while True:
            try:
                frame, address = self._raw.recvfrom(2048)
            except TimeoutError:
                continue
            except OSError:
                return
            if address[2] != socket.PACKET_OUTGOING and self.is_ours(frame):
                self.returned.add(int.from_bytes(self.number_of(frame), "big"))

    def is_ours(self, frame: bytes) -> bool:
        return frame[5] == 0x5A

    def number_of(self, frame: bytes) -> bytes:
        return frame[self._at : self._at + 4]
