"""The BFD process: `python -I -m bgp.bfd RUN_DIR USER PRIORITY`; standard library only, no privilege once it listens.

Its peers and keys come from the daemon over `RUN_DIR/bfd.sock`: nothing secret is in a file or an argument.
"""

import gc
import os
import socket
import sys
from pathlib import Path

from bgp.bfd.beats import Beats, BeatsError
from bgp.bfd.privileges import become, run_first, run_on_time, stay_in_memory
from bgp.bfd.server import Server
from bgp.bfd.sockets import MULTIHOP, SINGLE_HOP, listen
from bgp.process import ProcessError, account
from bgp.secrets import forbid_core_dumps


def _door(path: Path) -> socket.socket:
    """The socket for the daemon: who connects must be root, or us."""
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        door.bind(str(path))
    finally:
        os.umask(before)
    door.listen(4)
    return door


def _listeners() -> tuple[list[tuple[socket.socket, bool]], list[str]]:
    opened: list[tuple[socket.socket, bool]] = []
    remarks = []
    for port, multihop in ((SINGLE_HOP, False), (MULTIHOP, True)):
        for version in (4, 6):
            try:
                opened.append((listen(version, port), multihop))
            except OSError as error:
                if version == 4 or error.errno not in (97, 99):  # EAFNOSUPPORT, EADDRNOTAVAIL: no IPv6 here
                    raise
                remarks.append(f"without IPv6: {error.strerror}")
    return opened, remarks


def _hurry(priority: int) -> str:
    """The best that the kernel grants; what a remark says must not be a surprise later."""
    if not priority or not (refused := run_on_time()):
        return ""
    worse = run_first(priority)
    return f"{refused}, {worse}" if worse else refused


def main() -> int:
    """Entry point."""
    run_dir, user, priority = Path(sys.argv[1]), sys.argv[2] or None, int(sys.argv[3])
    forbid_core_dumps()
    try:
        runner = account(user)
        beats = Beats.open(run_dir / "beats")
        listeners, remarks = _listeners()
        server_door = _door(run_dir / "bfd.sock")
        remarks += [_hurry(priority), stay_in_memory()]
        become(runner)
        server = Server(listeners, server_door, beats, tuple(remark for remark in remarks if remark))
    except (OSError, BeatsError, ProcessError) as error:
        sys.stderr.write(f"bfd: {error}\n")
        return 1
    gc.collect()
    gc.freeze()
    gc.disable()
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
