"""The node asks itself: packets for its own VIPs through the program that is on the interfaces.

The core says which packets and what must become of them, by the oracle; `judge` compares. The shell runs them by
BPF_PROG_TEST_RUN in the daemon and looks at what the kernel holds: nothing is sent, and no live counter moves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from edge.datapath import xdp
from edge.datapath.abi import Reason, Verdict
from edge.datapath.addresses import network_of
from edge.datapath.blocklist import BlockList
from edge.datapath.bpf_error import BpfError
from edge.datapath.forwarder import Forwarder, Trace
from edge.datapath.model import ForwarderState, IpAddress, Service
from edge.datapath.oracle import Oracle, Outcome
from edge.why import FiveTuple, frame

# Addresses that clients could have. Several, because a block list may hold some; the first that passes is taken.
_CLIENTS = tuple(
    map(ip_address, ("198.51.100.77", "192.0.2.77", "198.18.7.7", "9.9.9.9", "2001:db8:ffff::77", "2620:fe::9"))
)
_LIMITED = frozenset({Reason.SOURCE_LIMIT, Reason.VIP_LIMIT})
FORWARDED = frozenset({Verdict.TX, Verdict.REDIRECT})
_PORTS = range(40000, 40003)
_BEATS = 16  # packets that take turns in a beat


@dataclass(frozen=True, slots=True)
class Probe:
    """A packet for a VIP as received on `ifindex`, and what must become of it."""

    subject: str
    frame: bytes
    ifindex: int
    expected: Outcome


class Questions:
    """The packets that a state can be asked with, one for each of its services; each is judged when it is asked for.

    `interfaces` gives the MAC of each interface by ifindex, and has one at least.
    """

    def __init__(
        self, state: ForwarderState, interfaces: Mapping[int, bytes], blocked: BlockList | None = None
    ) -> None:
        self._services = state.services
        self._oracle = Oracle(state, interfaces, blocked)
        self._ifindex, self._mac = next(iter(interfaces.items()))
        self._made: dict[int, Probe] = {}

    def __len__(self) -> int:
        return len(self._services)

    def probe(self, number: int) -> Probe:
        """The packet for service `number` modulo their count, one that reaches a backend if there is any."""
        number %= len(self._services)
        if number not in self._made:
            service = self._services[number]
            candidates = [self._probe(service, client) for client in _clients(service)]
            forwarded = (each for each in candidates if each.expected.verdict in FORWARDED)
            self._made[number] = next(forwarded, candidates[0])
        return self._made[number]

    def _probe(self, service: Service, client: tuple[IpAddress, int]) -> Probe:
        network = network_of(service.vip)
        inside = network.network_address + (1 if network.num_addresses > 2 else 0)
        flow = FiveTuple(*client, inside, service.port or 443, service.protocol)
        made = frame(flow, self._mac)
        return Probe(str(flow), made, self._ifindex, self._oracle.judge(made, self._ifindex))


def _clients(service: Service) -> list[tuple[IpAddress, int]]:
    version = network_of(service.vip).version
    return [(client, port) for port in _PORTS for client in _CLIENTS if client.version == version]


def judge(trace: Trace, probe: Probe) -> str:
    """Why a packet did not become what it must; empty when it did."""
    expected = probe.expected
    if trace.reason in _LIMITED and trace.verdict is Verdict.DROP:
        return ""  # a rate that is configured, used up by our own packets: the program reached that far
    found = (trace.verdict, trace.reason, trace.frame)
    if found == (expected.verdict, expected.reason, expected.frame):
        return ""
    if found[:2] == (expected.verdict, expected.reason):
        return f"{probe.subject} leaves with other headers than it must"
    return f"{probe.subject} is {_words(trace.verdict, trace.reason)}, expected {_words(*_of(expected))}"


def _of(outcome: Outcome) -> tuple[Verdict, Reason]:
    return outcome.verdict, outcome.reason


def _words(verdict: Verdict, reason: Reason) -> str:
    return f"{verdict.name.lower()} ({reason.label})" if reason is not Reason.NONE else verdict.name.lower()


class SelfProbe:
    """The shell around one forwarder. `prepare` after each change of its state, then `look` and `beat` at will."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._state: ForwarderState | None = None
        self._questions: Questions | None = None
        self._next = self._beat_next = 0
        self._beats: tuple[Probe, ...] = ()

    def prepare(self, state: ForwarderState, blocked: BlockList | None = None) -> None:
        """Make the packets of a state that is in force. Tens of milliseconds: call it in a thread. Raises BpfError."""
        interfaces = {
            each.ifindex: xdp.mac_address(each.interface) for each in self._forwarder.attachments if each.ifindex
        }
        if not interfaces or not state.services:
            self._questions, self._beats, self._state = None, (), state
            return
        questions = Questions(state, interfaces, blocked)
        made = [questions.probe(number) for number in range(min(_BEATS, len(questions)))]
        self._forwarder.run(made[0].frame, made[0].ifindex)  # loads the copy of the program
        self._beats = tuple(each for each in made if each.expected.verdict in FORWARDED)
        self._questions, self._state = questions, state

    @property
    def ready(self) -> bool:
        """Whether there is a state to be held against."""
        return self._state is not None

    def look(self) -> str:
        """Run the packet whose turn it is, and look at what the kernel holds; returns the fault, if there is one."""
        try:
            fault = self._standing()
            questions, state = self._questions, self._state
            if fault or questions is None:
                return fault
            probe = questions.probe(self._next)
            settled = self._settled(state)
            fault = judge(self._forwarder.run(probe.frame, probe.ifindex), probe)
            if not settled or not self._settled(state):
                return ""  # tables were swapped meanwhile: the next `prepare` brings what is expected of them
            self._next += 1
            return fault
        except BpfError as error:
            return f"the program cannot be run: {error}"

    def beat(self) -> str:
        """The least that shows a forwarder at work, for every few milliseconds: one packet, and the attachments."""
        try:
            fault = self._standing()
            if fault or not self._beats:
                return fault
            probe = self._beats[self._beat_next % len(self._beats)]
            self._beat_next += 1
            action = self._forwarder.beat(probe.frame, probe.ifindex)
            # Which backend a table names changes under way, and a limit may drop; only a look compares all of it.
            fine = action in (Verdict.TX, Verdict.REDIRECT, Verdict.DROP)
            return "" if fine else f"{probe.subject} is left to the host (XDP action {action}), expected to be sent on"
        except BpfError as error:
            return f"the program cannot be run: {error}"

    def _settled(self, state: ForwarderState | None) -> bool:
        return state is not None and self._forwarder.settled and self._forwarder.generation == state.generation

    def _standing(self) -> str:
        lost = self._forwarder.lost()
        return f"not attached to {', '.join(lost)} any more" if lost else self._forwarder.foreign()
