"""What stays of a lab on the machine beside its containers: interfaces, and the journal of faults.

A containerlab that died in the middle leaves interfaces in the host's network namespace: it makes each link there,
under random names, and moves its ends into the nodes one after the other. An end that is in a node goes with the node;
a pair of which neither end was moved belongs to nobody and stays.
"""

import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from lab.netns.state import STATE

_INTERFACES = Path("/sys/class/net")
_UNMOVED = re.compile(r"clab-[0-9a-f]{8}")


def remove_strays() -> None:
    """Delete every interface under such a name; only while no container of any lab exists, whose links these could
    be just now. Idempotent; an interface that goes by itself meanwhile is no error."""
    for interface in sorted(path.name for path in _INTERFACES.glob("clab-*")):
        if _UNMOVED.fullmatch(interface):
            # With one end goes the other, so half of these calls find nothing.
            subprocess.run(["ip", "link", "delete", "dev", interface], capture_output=True, check=False)


def forget_faults(lab: str) -> None:
    """Remove the journal of the lab's faults, which went with its nodes; idempotent.

    It stays when the folder is that of a lab of namespaces by the same name.
    """
    folder = STATE / lab
    if (folder / "lab.json").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    for above in (STATE, STATE.parent):
        with suppress(OSError):  # another lab's state is in it, or there is none
            above.rmdir()
