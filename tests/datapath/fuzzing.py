"""What is fuzzed: every program in every world of the packet rows, from the rows' own frames."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from edge.datapath.abi import Note, Reason
from edge.datapath.decap_oracle import DecapOracle
from edge.datapath.model import Encap
from edge.datapath.oracle import Oracle
from edge.datapath.outcome import Outcome
from tests.datapath import rows
from tests.datapath import world as w
from tests.datapath.differ import Differ
from tests.datapath.rig import Rig

LONGEST = 3400  # above about 3,500 bytes a test run splits a frame
_MOST_OF_A_ROW = 12
GRE_ONLY = dataclasses.replace(w.DECAP_STATE, encaps=frozenset({Encap.GRE}))


@dataclass(frozen=True)
class Target:
    """A program in one state: its share of the mutants, and what judges it."""

    name: str
    share: int
    decap: bool
    rig: Callable[[], Rig]
    judge: Callable[[bytes], Outcome]


def _forward(name: str, share: int) -> Target:
    oracle = Oracle(w.STATES[name], w.INTERFACES, w.Blocked())
    judge = functools.partial(oracle.judge, ingress_ifindex=w.LOOPBACK)
    return Target(f"forward {name}", share, False, lambda: forwarder_in(name), judge)


def _decap(name: str, share: int) -> Target:
    oracle = DecapOracle(_DECAP[name])
    return Target(f"decap {name}", share, True, lambda: decapsulator_in(name), oracle.judge)


def forwarder_in(name: str) -> Rig:
    """The forwarder in a state of `world.STATES`, without rate limits."""
    rig = Rig.forwarder(w.TABLE_SIZE)
    rig.install(w.STATES[name], w.INTERFACES)
    rig.remove_pool(w.ABSENT_POOL_INDEX)
    rig.block(w.BLOCKED, w.WATCHED)
    return rig


def decapsulator_in(name: str) -> Rig:
    """The decapsulator of the world's backend in one of its states."""
    rig = Rig.decapsulator()
    rig.install_decap(_DECAP[name])
    return rig


_DECAP = {**w.DECAP_STATES, "gre-only": GRE_ONLY}
TARGETS = (
    *(_forward(name, share) for name, share in (("plain", 25), ("tagged", 15), ("guarded", 25))),
    *(_decap(name, share) for name, share in (("plain", 15), ("keyed", 15), ("gre-only", 5))),
)
SHARES = sum(target.share for target in TARGETS)

# What a mutant cannot reach, and where it is reached instead.
UNREACHABLE_REASONS = {
    Reason.SHORT: "test_forward_more.py: no test run takes such a frame",
    Reason.ENCAP_FAIL: "test_forward_more.py: headroom used up",
    Reason.ICMP_LIMIT: "test_forward_limits.py",
    Reason.ECHO_LIMIT: "test_forward_limits.py",
    Reason.SOURCE_LIMIT: "test_forward_limits.py",
    Reason.VIP_LIMIT: "test_forward_limits.py",
}
UNREACHABLE_NOTES = {
    Note.UNCONFIGURED: "test_forward_more.py: without a directory",
    Note.PTB_LIMITED: "test_forward_limits.py",
}


@functools.cache
def seeds(decap: bool) -> list[bytes]:
    """Frames of the rows, a few of each."""
    table = rows.DECAP if decap else rows.FORWARD
    built = (frame for row in table for frame in row.build()[:_MOST_OF_A_ROW])
    return sorted({frame for frame in built if 14 <= len(frame) <= LONGEST})


@contextmanager
def loaded() -> Iterator[list[tuple[Target, Differ]]]:
    """Every target's program in the kernel."""
    with ExitStack() as stack:
        found = []
        for target in TARGETS:
            rig = target.rig()
            stack.callback(rig.close)
            found.append((target, Differ(rig, target.judge)))
        yield found
