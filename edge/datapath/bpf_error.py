"""The one exception of the BPF layer, and what an operator can do about each kernel answer."""

import errno as codes
import os
from enum import StrEnum
from pathlib import Path

CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 12, 21, 38, 39
_CAPABILITIES = {CAP_BPF: "CAP_BPF", CAP_NET_ADMIN: "CAP_NET_ADMIN", CAP_PERFMON: "CAP_PERFMON"}


class Step(StrEnum):
    """What was being done; the same errno means different things in different steps."""

    LIBRARY = "library"
    OPEN = "open"
    LOAD = "load"
    MAP = "map"
    PIN = "pin"
    ATTACH = "attach"
    RUN = "run"


class BpfError(Exception):
    """A BPF call failed. `step` and `errno` (0: no system call was involved) are for programs, the text for people."""

    def __init__(self, step: Step, attempted: str, errno: int = 0, detail: str = "", fix: str = "") -> None:
        self.step = step
        self.attempted = attempted
        self.errno = errno
        self.detail = detail
        self.fix = fix or fix_for(step, errno)
        reason = f"{os.strerror(errno)} ({codes.errorcode.get(errno, errno)})" if errno else ""
        why = "; ".join(part for part in (reason, detail) if part)
        super().__init__(f"cannot {attempted}: {why}" + (f". {self.fix}" if self.fix else ""))


_ATTACH_FIXES = {
    codes.EBUSY: "Another XDP program or link holds the interface and is not replaced silently: "
    "see `bpftool net`, then `ip link set dev IFACE xdp off` or remove the pin of its link",
    codes.EEXIST: "An XDP program in the other mode (native or generic) is already attached: "
    "`ip link set dev IFACE xdp off`",
    codes.EOPNOTSUPP: "The driver has no native XDP here: use mode generic or auto",
    codes.ERANGE: "The MTU of the interface or of its veth peer is too large for native XDP: "
    "lower it to 3506 or less (`ip link set dev IFACE mtu 1500`), or use mode generic",
    codes.ENOSPC: "The veth peer sends on more queues than this end receives on: "
    "`ethtool -L IFACE rx N` with N at least the peer's tx queues",
    codes.ENOTCONN: "The veth has no peer: create both ends first",
    codes.ENODEV: "The interface is gone: check its name and the network namespace",
    codes.ENOLINK: "The interface of this link was deleted: attach anew",
}
_PIN_FIXES = {
    codes.EEXIST: "Another process made that pin just now: only one daemon may use this directory",
    codes.EROFS: "The file system is read-only: mount bpffs writable",
    codes.ENOENT: "The directory does not exist on a bpffs: `mount -t bpf bpf DIR` "
    "(inside `ip netns exec` a fresh /sys hides the host's)",
}


def fix_for(step: Step, errno: int) -> str:
    """Return one sentence that says what to change, or "" when the errno alone does not tell."""
    if errno in (codes.EPERM, codes.EACCES) and step is not Step.LOAD:
        return _privileges()
    if errno == codes.EPERM:
        return _privileges()
    if errno == codes.ENOSYS:
        return "The kernel has no bpf system call: CONFIG_BPF_SYSCALL is needed"
    return {Step.ATTACH: _ATTACH_FIXES, Step.PIN: _PIN_FIXES}.get(step, {}).get(errno, "")


def missing_capabilities(effective: int) -> list[str]:
    """Name what a capability mask lacks for loading and attaching XDP; CAP_SYS_ADMIN stands for BPF and PERFMON."""
    if effective >> CAP_SYS_ADMIN & 1:
        effective |= 1 << CAP_BPF | 1 << CAP_PERFMON
    return [name for bit, name in _CAPABILITIES.items() if not effective >> bit & 1]


def _privileges() -> str:
    missing = missing_capabilities(_effective_capabilities())
    if missing:
        return (
            f"This process lacks {', '.join(missing)}: run as root, or grant CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON "
            "(or CAP_SYS_ADMIN with CAP_NET_ADMIN)"
        )
    locked = _lockdown()
    if locked:
        return f"Kernel lockdown is '{locked}', which may forbid BPF: boot with lockdown=none or sign the policy"
    return "The capabilities are there: look for a seccomp profile, an LSM, or a memlock limit (kernels before 5.11)"


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _lockdown() -> str:
    try:
        text = Path("/sys/kernel/security/lockdown").read_text(encoding="ascii")
    except OSError:
        return ""
    chosen = text.partition("[")[2].partition("]")[0]
    return "" if chosen == "none" else chosen
