"""The node asks itself: packets for its own VIPs through the program that is on the interfaces.

They run by BPF_PROG_TEST_RUN in the daemon, through a copy of the program over the live tables: nothing is sent, and no
live counter moves. What must become of them is the oracle's word (`edge.daemon.self_packets`).
"""

from edge.daemon.self_packets import FORWARDED, Probe, Questions, judge
from edge.datapath import xdp
from edge.datapath.abi import Verdict
from edge.datapath.blocklist import BlockList
from edge.datapath.bpf_error import BpfError
from edge.datapath.forwarder import Forwarder
from edge.datapath.model import ForwarderState

_BEATS = 16  # packets that take turns in a beat


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
