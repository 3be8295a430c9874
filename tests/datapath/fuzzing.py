"""What is fuzzed: every program in every world of the packet rows, from the rows' own frames."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from edge.datapath.abi import Note, Reason
from edge.datapath.decap_oracle import DecapOracle
from edge.datapath.model import Encap, ForwarderState, HashMode, Protection, Protocol, QuicLb, Service
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
    oracle = Oracle(*_FORWARD[name], w.Blocked())
    judge = functools.partial(oracle.judge, ingress_ifindex=w.LOOPBACK)
    return Target(f"forward {name}", share, False, lambda: forwarder_in(name), judge)


def _decap(name: str, share: int) -> Target:
    oracle = DecapOracle(_DECAP[name])
    return Target(f"decap {name}", share, True, lambda: decapsulator_in(name), oracle.judge)


def forwarder_in(name: str) -> Rig:
    """The forwarder in a state of `world.STATES`, or in the varied one, without rate limits."""
    rig = Rig.forwarder(w.TABLE_SIZE)
    rig.install(*_FORWARD[name])
    rig.remove_pool(w.ABSENT_POOL_INDEX)
    rig.block(w.BLOCKED, w.WATCHED)
    return rig


def decapsulator_in(name: str) -> Rig:
    """The decapsulator of the world's backend in one of its states."""
    rig = Rig.decapsulator()
    rig.install_decap(_DECAP[name])
    return rig


def _varied() -> ForwarderState:
    """Another world for the same frames: what the rows hold fixed is different here.

    Prefixes of outer sources are wide, services hash in other ways, VIP prefixes have four lengths in a family, server
    ids three octets, the underlay 1400 bytes, and protection is half on.
    """
    turned = {mode: list(HashMode)[mode - 1] for mode in HashMode}
    services = [dataclasses.replace(s, hashing=turned[s.hashing]) for s in w.STATE.services]
    nets = (*(f"198.18.{n}.0/{n + 19}" for n in (0, 4)), "2001:db8:20:4000::/50", "2001:db8:20:1:8000::/65")
    for number, net in enumerate(nets, start=len(services) + 1):
        services.append(Service(number, w.vip_of(net), Protocol.TCP, 80, 0))
    ids = {b.id: b.server_id and b.server_id << 8 | 0x64 for b in w.BACKENDS}  # as the third octet of a row's id is
    return dataclasses.replace(
        w.GUARDED,
        seed=20_211_217,
        outer_source=IPv4Network("10.64.0.0/11"),
        outer_source6=IPv6Network("2001:db8:5::/48"),
        mtu=1400,
        services=tuple(services),
        backends=tuple(dataclasses.replace(b, server_id=ids[b.id]) for b in w.BACKENDS),
        infrastructure=frozenset(),
        quic=QuicLb(config_id=2, length=3),
        protection=Protection(blocking=True, reflection_ports=frozenset(range(50, 57))),
    )


VARIED = _varied()
VARIED_INTERFACES = {5: w.ROUTER_MAC, w.LOOPBACK: w.OWN_MAC, 9: bytes.fromhex("02000000ed09"), 4: w.ROUTER_MAC}
_FORWARD = {name: (state, w.INTERFACES) for name, state in w.STATES.items()} | {"varied": (VARIED, VARIED_INTERFACES)}
_DECAP = {**w.DECAP_STATES, "gre-only": GRE_ONLY}
TARGETS = (
    *(_forward(name, share) for name, share in (("plain", 20), ("tagged", 10), ("guarded", 20), ("varied", 15))),
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
