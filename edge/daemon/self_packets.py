"""The packets that a node asks its own program with, and what must become of each, by the oracle (core: no I/O)."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from edge.datapath.abi import Reason, Verdict
from edge.datapath.addresses import network_of
from edge.datapath.blocklist import BlockList
from edge.datapath.model import ForwarderState, IpAddress, Service
from edge.datapath.oracle import Oracle, Outcome
from edge.show.why import FiveTuple, frame

# Addresses that clients could have. Several, because a block list may hold some; the first that passes is taken.
_CLIENTS = tuple(
    map(ip_address, ("198.51.100.77", "192.0.2.77", "198.18.7.7", "9.9.9.9", "2001:db8:ffff::77", "2620:fe::9"))
)
_LIMITED = frozenset({Reason.SOURCE_LIMIT, Reason.VIP_LIMIT})
FORWARDED = frozenset({Verdict.TX, Verdict.REDIRECT})
_PORTS = range(40000, 40003)


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


class _Trace(Protocol):
    """As `edge.datapath.forwarder.Trace`: what the program did with a packet."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def reason(self) -> Reason: ...
    @property
    def frame(self) -> bytes: ...


def judge(trace: _Trace, probe: Probe) -> str:
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
