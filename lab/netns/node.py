"""Turns a forked child into a node: namespaces, a root of its own, then `tini` as PID 1 with the node's command.

Runs only in the guardian, which has a single thread: between fork and exec here lies plain Python.
"""

import contextlib
import os
import resource
import shutil
import signal
import stat
from collections.abc import Mapping
from pathlib import Path

from lab.netns import linux
from lab.netns.spec import NodeSpec

_NAMESPACES = linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC | linux.CLONE_NEWPID
_QUIET = linux.MS_NOSUID | linux.MS_NODEV
_STRICT = _QUIET | linux.MS_NOEXEC
_FRESH = {"/run": "mode=755", "/tmp": "mode=1777"}  # hidden from the host, so what is needed below them is bound in
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "net/tun": (10, 200),
}
_DEV_LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}


def launch(spec: NodeSpec) -> int:
    """Fork a node and return at once with the reading end of a pipe.

    The pipe gives `P<pid>\\n`, then `E<message>` if it failed; its end without an E means that the node's command runs.
    """
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            _outer(spec, writer)
        except BaseException as error:
            os.write(writer, f"E{error}".encode())
        os._exit(1)
    os.close(writer)
    return reader


def _outer(spec: NodeSpec, writer: int) -> None:
    """The first child: enters the namespaces and forks, as only a child is born into a new PID namespace."""
    os.setsid()
    linux.give_way(os.getpid(), to_others=True)  # to the links of the lab; the tool ends it
    os.umask(0o022)
    log = os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    if spec.netns:
        linux.setns(spec.netns, linux.CLONE_NEWNET)
    linux.unshare(_NAMESPACES)
    pid = os.fork()
    if pid:
        os.write(writer, f"P{pid}\n".encode())
        os._exit(0)
    _prepare(spec)
    _execute(spec, log)


def make_netns(pin: str, sysctls: Mapping[str, str]) -> None:
    """Make a network namespace and pin it at `pin`, unless one is there; the caller ends up in it.

    Its `net.` sysctls are set at once, as those called "default" must be there before the first interface.
    """
    if _is_namespace(pin):
        return
    Path(pin).parent.mkdir(mode=0o755, exist_ok=True)
    os.close(os.open(pin, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    linux.unshare(linux.CLONE_NEWNET)
    linux.bind("/proc/self/ns/net", pin)
    linux.set_up("lo")
    _set_sysctls({name: value for name, value in sysctls.items() if _is_of_network(name)})


def _is_namespace(pin: str) -> bool:
    """Whether something is mounted on the file: nsfs is on another device than the folder."""
    path = Path(pin)
    return path.exists() and path.stat().st_dev != path.parent.stat().st_dev


def _prepare(spec: NodeSpec) -> None:
    linux.set_hostname(spec.hostname)
    # Sources are looked up in the host's view now and used in the node's: a target may be below a symbolic link there.
    shown = [(_open_path(path), path, True) for path in sorted(spec.paths, key=len) if _is_hidden(path)]
    shown += [(_open_path(source), target, read_only) for source, target, read_only in spec.binds]
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    root = _overlay(spec.root)
    _mount_system(root, read_only=not spec.privileged)
    os.chdir(root)
    linux.pivot_root_here()
    for path in spec.paths:
        _make_traversable(path)
    for target, options in spec.tmpfs.items():
        Path(target).mkdir(parents=True, exist_ok=True)
        linux.mount("tmpfs", target, "tmpfs", _QUIET, options)
    _write_names(spec.hostname)
    for source, target, read_only in shown:
        _bind(source, target, read_only=read_only)
    linux.unmount(".")
    os.chdir("/")
    _set_sysctls({name: value for name, value in spec.sysctls.items() if not _is_of_network(name)})
    if not spec.privileged:
        linux.bind("/proc/sys", "/proc/sys", read_only=True)


def _open_path(path: str) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(f"bind of {path}: {os.strerror(error.errno or 0)}") from None


def _overlay(base: str) -> str:
    """The host's root file system, read through, with every change kept in memory that dies with the node."""
    linux.mount("tmpfs", base, "tmpfs", _QUIET, "mode=755")
    upper, work, root = (f"{base}/{name}" for name in ("upper", "work", "merged"))
    for folder in (upper, work, root):
        Path(folder).mkdir(0o755)
    linux.mount("overlay", root, "overlay", 0, f"lowerdir=/,upperdir={upper},workdir={work}")
    return root


def _is_hidden(path: str) -> bool:
    """Whether the overlay of / does not show `path`: it lies on another mount, or below a folder that is made fresh."""
    if path in _FRESH:
        return False  # showing the host's would make it fresh no more
    if any(path.startswith(f"{fresh}/") for fresh in _FRESH):
        return True
    return Path(path).stat().st_dev != Path("/").stat().st_dev


def _make_traversable(path: str) -> None:
    """Let everybody pass through the folders above `path`: programs that drop root must reach the interpreter."""
    for ancestor in [*reversed(Path(path).parents), Path(path)]:
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(ancestor.stat().st_mode)
            if not mode & stat.S_IXOTH:
                ancestor.chmod(mode | stat.S_IXOTH)


def _mount_system(root: str, *, read_only: bool) -> None:
    linux.mount("proc", f"{root}/proc", "proc", _STRICT)
    linux.mount("sysfs", f"{root}/sys", "sysfs", _STRICT | (linux.MS_RDONLY if read_only else 0))
    for folder, options in _FRESH.items():
        linux.mount("tmpfs", root + folder, "tmpfs", _QUIET, options)
    Path(f"{root}/run/lock").mkdir(0o755)
    var_run = Path(f"{root}/var/run")
    if var_run.is_dir() and not var_run.is_symlink():
        linux.bind(f"{root}/run", str(var_run))
    _mount_dev(Path(f"{root}/dev"))


def _mount_dev(dev: Path) -> None:
    linux.mount("tmpfs", str(dev), "tmpfs", linux.MS_NOSUID, "mode=755")
    for name in ("net", "pts", "shm"):
        (dev / name).mkdir(0o755)
    for name, (major, minor) in _DEVICES.items():
        os.mknod(dev / name, stat.S_IFCHR, os.makedev(major, minor))
        (dev / name).chmod(0o666)
    pts = "newinstance,ptmxmode=0666,mode=620"
    linux.mount("devpts", f"{dev}/pts", "devpts", linux.MS_NOSUID | linux.MS_NOEXEC, pts)
    linux.mount("tmpfs", f"{dev}/shm", "tmpfs", _QUIET, "mode=1777")
    for name, target in _DEV_LINKS.items():
        (dev / name).symlink_to(target)


def _bind(source: int, target: str, *, read_only: bool) -> None:
    place = Path(target)
    if stat.S_ISDIR(os.fstat(source).st_mode):
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch(exist_ok=True)
    linux.bind(f"/proc/self/fd/{source}", target, read_only=read_only)
    os.close(source)


def _write_names(hostname: str) -> None:
    Path("/etc/hostname").write_text(f"{hostname}\n")
    Path("/etc/hosts").write_text(
        f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n"
    )


def _is_of_network(sysctl: str) -> bool:
    return sysctl.startswith(("net.", "net/"))


def _set_sysctls(sysctls: Mapping[str, str]) -> None:
    for name, value in sysctls.items():
        try:
            Path("/proc/sys", *name.split("/" if "/" in name else ".")).write_text(value)
        except OSError as error:
            raise OSError(f"sysctl {name}={value}: {os.strerror(error.errno or 0)}") from None


def _silent_input() -> int:
    """A standard input that never says anything and never ends, as that of a container with an open terminal.

    Open for writing too, a pipe with a name has a writer as long as it has a reader. A shell as command lives on so.
    """
    name = "/run/.stdin"
    os.mkfifo(name)
    try:
        return os.open(name, os.O_RDWR | os.O_CLOEXEC)
    finally:
        Path(name).unlink()


def _execute(spec: NodeSpec, log: int) -> None:
    path = spec.env["PATH"]
    tini, command = shutil.which("tini", path=path), shutil.which(spec.argv[0], path=path)
    if not tini:
        raise OSError("tini is missing on this machine: apt-get install tini")
    if not command:
        raise OSError(
            f"command '{spec.argv[0]}' is not found in {path}: nodes have this machine's programs, no image's"
        )
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.dup2(_silent_input(), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.execve(tini, ["tini", "-g", "--", *spec.argv], dict(spec.env))
