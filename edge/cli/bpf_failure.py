"""How commands that open the kernel's BPF objects by themselves end when it refuses."""

import errno
from typing import NoReturn

from edge.cli.common import NEGATIVE, PERMISSION, UNREACHABLE, fail
from edge.datapath.bpf_error import BpfError

_CODES = {errno.EPERM: PERMISSION, errno.EACCES: PERMISSION, errno.ENOENT: UNREACHABLE}


def fail_bpf(error: BpfError) -> NoReturn:
    """End the command with what the kernel refused and the exit code for it."""
    fail(str(error), _CODES.get(error.errno, NEGATIVE))
