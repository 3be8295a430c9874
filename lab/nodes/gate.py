"""Announces an edge's VIPs by BIRD while its balancer works: `python3 -m lab.nodes.gate PORT | FILE`.

PORT: HTTP on 127.0.0.1 answers /ready with 200 while the balancer works. FILE: it exists while it does. There are five
looks a second, and what two in a row say is believed. While /run/hold/announce exists the VIPs stay withdrawn, whatever
the balancer does: `node-start drain` makes it and tells BIRD itself, `node-start undrain` takes it away and leaves
/run/gate-again, as both may come between two looks.
"""

import http.client
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

HOLD: Final = Path("/run/hold/announce")
AGAIN: Final = Path("/run/gate-again")
_EVERY: Final = 0.2  # s
_IN_A_ROW: Final = 2
_PROTOCOLS: Final = ("vips4", "vips6")


class Gate:
    """Whether to announce, from one look after another (no I/O)."""

    def __init__(self) -> None:
        self._working, self._streak = False, 0

    def saw(self, working: bool, held: bool) -> bool:
        """Fold one look; whether the VIPs are to be announced now."""
        self._streak = 0 if working == self._working else self._streak + 1
        if self._streak == _IN_A_ROW:
            self._working, self._streak = working, 0
        return self._working and not held


def works(where: str) -> bool:
    """Whether the balancer works just now."""
    if not where.isdecimal():
        return Path(where).exists()
    connection = http.client.HTTPConnection("127.0.0.1", int(where), timeout=_EVERY)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def announce(wanted: bool) -> bool:
    """Tell BIRD; whether it heard."""
    word = "enable" if wanted else "disable"
    done = [subprocess.run(["birdc", word, name], capture_output=True, check=False) for name in _PROTOCOLS]
    return all(one.returncode == 0 for one in done)


def main(where: str) -> None:
    """Look and tell until killed."""
    gate, told = Gate(), False
    while True:
        if AGAIN.exists():  # somebody else told BIRD to withdraw
            AGAIN.unlink()
            told = False
        held = HOLD.exists()
        wanted = gate.saw(works(where), held)
        if wanted != told and announce(wanted):
            print(f"gate: {'announces' if wanted else 'withdraws'} the VIPs", flush=True)  # noqa: T201
            told = wanted
        time.sleep(_EVERY)


if __name__ == "__main__":
    main(sys.argv[1])
