"""`python -m lab.faults.clock`: compile the library if it is stale, and print where it is, for FAIRHOP_CLOCK."""

import sys

from lab.faults.clock.preload import library

sys.stdout.write(f"{library()}\n")
