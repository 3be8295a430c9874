"""Interfaces that a containerlab which died in the middle left in the host's network namespace.

containerlab makes each link there, under random names, and moves its ends into the nodes one after the other. An end
that is in a node goes with the node; a pair of which neither end was moved belongs to nobody and stays.
"""

import re
import subprocess
from pathlib import Path

_INTERFACES = Path("/sys/class/net")
_UNMOVED = re.compile(r"clab-[0-9a-f]{8}")


def remove_strays() -> None:
    """Delete every interface under such a name; only while no container of any lab exists, whose links these could
    be just now. Idempotent; an interface that goes by itself meanwhile is no error."""
    for interface in sorted(path.name for path in _INTERFACES.glob("clab-*")):
        if _UNMOVED.fullmatch(interface):
            # With one end goes the other, so half of these calls find nothing.
            subprocess.run(["ip", "link", "delete", "dev", interface], capture_output=True, check=False)
