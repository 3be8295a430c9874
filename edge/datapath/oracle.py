"""What the forwarder must do with a packet, said a second time in Python (core: no I/O).

Tests hold the program against it, `why` explains with it. It follows the rules of docs/adr/0002-data-path.md and reads
a `ForwarderState` instead of maps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol as Shape

from edge.datapath import oracle_icmp, oracle_icmp6
from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.addresses import network_of
from edge.datapath.encode_backend import overhead_of
from edge.datapath.hashing import FlowKey
from edge.datapath.headers import (
    IPV4,
    TCP,
    TUNNELS,
    UDP,
    Ip,
    check_ipv4,
    check_ipv6,
    read_link,
    word,
)
from edge.datapath.model import ForwarderState, IpAddress, IpNetwork, Service, Vip
from edge.datapath.oracle_addresses import Addresses
from edge.datapath.oracle_choice import Choices
from edge.datapath.oracle_messages import about_tunnels, icmp_of
from edge.datapath.oracle_outer import tunnelled
from edge.datapath.outcome import Choice, DroppedError, Outcome, PassedError

__all__ = ["Blocking", "Choice", "Oracle", "Outcome", "judge"]
_GUE_PORT = 6080


class Blocking(Shape):
    """A block list: what it says of a source."""

    def lookup(self, address: IpAddress) -> bool | None:
        """None: not in the list. True: in it, for counting only (dry run). False: blocked."""


@dataclass(slots=True)
class _Packet:
    """A packet for a VIP on its way through the rules, and what was noted so far."""

    frame: bytes
    at: int  # where IP begins: behind Ethernet and tags
    ip: Ip
    ifindex: int
    vip: IpNetwork
    within_rate: bool
    notes: set[Note]


def judge(
    frame: bytes,
    ingress_ifindex: int,
    state: ForwarderState,
    interfaces: Mapping[int, bytes] | None = None,
    *,
    within_rate: bool = True,
    blocked: Blocking | None = None,
) -> Outcome:
    """Say what becomes of one frame. See `Oracle`, which is faster for many of them."""
    return Oracle(state, interfaces, blocked).judge(frame, ingress_ifindex, within_rate=within_rate)


class Oracle:
    """Judges frames against one state.

    `interfaces` gives the MAC of each interface by ifindex, as for `encode`; without it, every frame that is neither
    broadcast nor multicast counts as sent to us. `blocked` is asked where the state says `blocking`.
    """

    def __init__(
        self, state: ForwarderState, interfaces: Mapping[int, bytes] | None = None, blocked: Blocking | None = None
    ) -> None:
        self._state = state
        self._interfaces = interfaces
        self._blocked = blocked if state.protection.blocking else None
        self._backends = {b.id: b for b in state.backends}
        self._backend_addresses = frozenset(b.address for b in state.backends)
        vips = {s.vip for s in state.services} | state.echo_vips
        own = (state.outer_source, *((state.outer_source6,) if state.outer_source6 else ()))
        machines = state.infrastructure | self._backend_addresses
        self._addresses = Addresses(vips, machines, own, private=state.protection.drop_private)
        self._echo_vips = frozenset(map(network_of, state.echo_vips))
        self._choices = Choices(state)

    def judge(self, frame: bytes, ingress_ifindex: int, *, within_rate: bool = True) -> Outcome:
        """Say what becomes of a frame. `within_rate` False: as when every rate that is configured is used up."""
        notes: set[Note] = set()
        try:
            at, ip = read_link(frame, self._state.vlans)
            vip = self._addresses.vip_of(ip.destination)
            if vip is None:
                raise PassedError(*about_tunnels(ip, self._state, self._backend_addresses))
            return self._handle(_Packet(frame, at, ip, ingress_ifindex, vip, within_rate, notes))
        except DroppedError as drop:
            return Outcome(Verdict.DROP, frame, drop.reason, frozenset(notes))
        except PassedError as passed:
            return Outcome(Verdict.PASS, frame, notes=frozenset(passed.notes))

    def choose(self, key: FlowKey, service: Service) -> Choice:
        """The slot and the backend of a flow of this service; needs no packet."""
        return self._choices.choose(key, service)

    def find_service(self, vip: Vip, protocol: int, port: int) -> Service | None:
        """The service of a VIP, IP protocol number and port; one on port 0 takes what no other does."""
        return self._choices.find(network_of(vip), protocol, port)

    def _handle(self, packet: _Packet) -> Outcome:
        ip = packet.ip
        if oracle_icmp6.is_discovery(ip):
            raise PassedError
        self._check_macs(packet)
        self._default_deny(packet)
        (check_ipv4 if ip.fixed == IPV4 else check_ipv6)(ip)
        self._filter(packet)
        if ip.is_icmp and ip.payload[:1] == bytes((icmp_of(ip).ECHO,)):
            return self._echo(packet)
        key = self._flow(ip)
        service = self._service(packet, key.protocol, key.vip_port)
        return self._send(packet, self._route(packet, key, service))

    def _check_macs(self, packet: _Packet) -> None:
        destination, source = packet.frame[:6], packet.frame[6:12]
        if destination == b"\xff" * 6:
            raise DroppedError(Reason.L2_BCAST)
        if destination[0] & 1:
            raise DroppedError(Reason.L2_MCAST)
        if self._interfaces is not None and destination != self._interfaces.get(packet.ifindex):
            raise PassedError(Note.OTHER_HOST)
        if source[0] & 1 or not any(source):
            raise DroppedError(Reason.L2_SRC)

    def _default_deny(self, packet: _Packet) -> None:
        """What a flood is made of ends here: before checksums, and whatever the length fields say."""
        ip = packet.ip
        ports = ip.raw[ip.fixed : ip.fixed + 8]
        if ip.protocol in (TCP, UDP) and ip.header_length == ip.fixed and not ip.fragment and len(ports) == 8:
            if not word(ports, 0) or not word(ports, 2):
                raise DroppedError(Reason.PORT0)
            self._service(packet, ip.protocol, word(ports, 2))

    def _filter(self, packet: _Packet) -> None:
        source, protection = packet.ip.source, self._state.protection
        if not self._addresses.is_client(source):
            raise DroppedError(Reason.MARTIAN)
        found = self._blocked.lookup(source) if self._blocked else None
        if found is False:
            raise DroppedError(Reason.BLOCKED)
        if found:
            packet.notes.add(Note.BLOCK_DRY_RUN)
        if protection.per_source.per_second and not packet.within_rate:
            raise DroppedError(Reason.SOURCE_LIMIT)
        if protection.per_vip.per_second and not packet.within_rate:
            raise DroppedError(Reason.VIP_LIMIT)

    def _flow(self, ip: Ip) -> FlowKey:
        if ip.protocol in (TCP, UDP):
            key = FlowKey(ip.source, *self._ports(ip), ip.protocol)
        elif ip.is_icmp:
            key = icmp_of(ip).quoted_flow(ip, self._addresses)
        else:
            raise DroppedError(Reason.NESTED if ip.protocol in TUNNELS else Reason.PROTO)
        if not key.client_port or not key.vip_port:
            raise DroppedError(Reason.PORT0)
        return key

    def _ports(self, ip: Ip) -> tuple[int, int]:
        segment = ip.payload
        if len(segment) < (20 if ip.protocol == TCP else 8):
            raise DroppedError(Reason.TRUNC)
        if ip.protocol == TCP and not 20 <= (segment[12] >> 4) * 4 <= len(segment):
            raise DroppedError(Reason.L4)
        if ip.protocol == UDP and not 8 <= word(segment, 4) <= len(segment):
            raise DroppedError(Reason.LEN)
        if ip.protocol == UDP and word(segment, 0) in self._state.protection.reflection_ports:
            raise DroppedError(Reason.ACL)
        return word(segment, 0), word(segment, 2)

    def _service(self, packet: _Packet, protocol: int, port: int) -> Service:
        service = self._choices.find(packet.vip, protocol, port)
        if service is None:
            gue = packet.ip.protocol == UDP and port == _GUE_PORT
            raise DroppedError(Reason.NESTED if gue else Reason.NO_SERVICE)
        return service

    def _route(self, packet: _Packet, key: FlowKey, service: Service) -> Choice:
        choice = self._choices.choose(key, service)
        if service.quic and packet.ip.protocol == UDP:
            choice, note = self._choices.by_connection_id(packet.ip.payload[8:], service, choice)
            packet.notes |= {note} if note else set()
        return choice

    def _send(self, packet: _Packet, choice: Choice) -> Outcome:
        ip, backend = packet.ip, self._backends.get(choice.backend)
        if backend is None:
            return _dropped(packet, Reason.TABLE_CORRUPT if choice.backend else Reason.NO_BACKEND, choice)
        hop = backend.next_hop
        if hop is None:
            return _dropped(packet, Reason.NEIGH, choice)
        if not hop.ifindex:
            return Outcome(Verdict.PASS, packet.frame, notes=frozenset(packet.notes | {Note.LOCAL}), choice=choice)
        limit = self._state.mtu - overhead_of(backend)
        if ip.length > limit:
            return _too_big(packet, limit, choice)
        if ip.is_icmp and not packet.within_rate:
            return _dropped(packet, Reason.ICMP_LIMIT, choice)
        noted = {
            Note.TRIMMED: len(ip.raw) > ip.length,
            Note.REDIRECTED: hop.ifindex != packet.ifindex,
            Note.ICMP_RELAYED: ip.is_icmp,
            Note.PTB_SMALL: ip.is_icmp and ip.fixed == IPV4 and oracle_icmp.tells_small_mtu(ip.payload),
        }
        verdict = Verdict.REDIRECT if noted[Note.REDIRECTED] else Verdict.TX
        notes = packet.notes | {note for note in noted if noted[note]}
        after = tunnelled(ip, backend, hop, choice.hash, self._state)
        return Outcome(verdict, after, notes=frozenset(notes), choice=choice)

    def _echo(self, packet: _Packet) -> Outcome:
        ip, icmp = packet.ip, icmp_of(packet.ip)
        oracle_icmp.check_echo(ip.payload, packet.vip in self._echo_vips, icmp.is_right(ip), packet.within_rate)
        notes = {Note.ECHO_REPLY} | ({Note.TRIMMED} if len(ip.raw) > ip.length else set())
        return Outcome(Verdict.TX, _returned(packet) + icmp.echo_reply(ip), notes=frozenset(packet.notes | notes))


def _dropped(packet: _Packet, reason: Reason, choice: Choice, *notes: Note) -> Outcome:
    return Outcome(Verdict.DROP, packet.frame, reason, frozenset(packet.notes | {*notes}), choice)


def _too_big(packet: _Packet, limit: int, choice: Choice) -> Outcome:
    if packet.ip.is_icmp:
        return _dropped(packet, Reason.TOOBIG, choice)
    if not packet.within_rate:
        return _dropped(packet, Reason.TOOBIG, choice, Note.PTB_LIMITED)
    answer = _returned(packet) + icmp_of(packet.ip).too_big(packet.ip, limit)
    return Outcome(Verdict.TX, answer, Reason.TOOBIG, frozenset(packet.notes | {Note.PTB_SENT}), choice)


def _returned(packet: _Packet) -> bytes:
    """The Ethernet header, and the tags it has, that send a frame back."""
    frame = packet.frame
    return frame[6:12] + frame[:6] + frame[12 : packet.at]
