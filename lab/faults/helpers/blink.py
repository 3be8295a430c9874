"""Switches an nft table off and on, again and again: `blink MARK FAMILY SECONDS`; the table's name is MARK.

It is on first, for so many seconds, then off for as long. What is off is dormant: it stays, and no packet meets it.
"""

import subprocess
import sys
import time

from lab.faults.helpers.background import go_on

_NAME = "lab.faults.helpers.nft"  # what nft is called here, so that whoever ends this helper finds it too


def switch(family: str, table: str, *, on: bool) -> None:
    """Wake the table, or let it sleep."""
    flags = "" if on else "{ flags dormant; }"
    subprocess.run([_NAME, "add", "table", family, table, flags], executable="/usr/sbin/nft", check=True)


def main() -> None:
    """Go on in the background until killed; a moment that was missed is left out, so that the beat stays."""
    table, family, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    began = time.monotonic()
    switch(family, table, on=True)
    go_on()
    on = True
    while True:
        beats = int((time.monotonic() - began) / seconds) + 1
        time.sleep(max(0.0, began + beats * seconds - time.monotonic()))
        if on is not (beats % 2 == 0):
            on = beats % 2 == 0
            switch(family, table, on=on)


if __name__ == "__main__":
    main()
