"""What the forwarder must do with a packet, said a second time in Python (core: no I/O).

Tests hold the program against it, `why` explains with it. It follows the rules of docs/adr/0002-data-path.md and reads
a `ForwarderState` instead of maps.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address

from edge.datapath.abi import MAX_BACKENDS, Note, Reason, Verdict
from edge.datapath.encode import overhead_of
from edge.datapath.hashing import FlowKey, flow_hash, slot_of
from edge.datapath.headers import (
    ETHERNET,
    ICMP,
    IPV4,
    TCP,
    TUNNELS,
    UDP,
    Choice,
    DroppedError,
    Ipv4,
    Outcome,
    PassedError,
    check_ipv4,
    checksum,
    ipv4_header,
    is_martian,
    read_link,
    word,
)
from edge.datapath.model import Backend, Encap, ForwarderState, Protocol, Service

_ECHO_REPLY, _UNREACHABLE, _ECHO, _TIME_EXCEEDED, _PARAMETER = 0, 3, 8, 11, 12
_FRAGMENTATION_NEEDED = 4
_ERRORS = frozenset({_UNREACHABLE, _TIME_EXCEEDED, _PARAMETER})
_ERROR_LENGTH = 576
_GUE_PORT = 6080
_SMALL_MTU = 552
_GRE_IPV4 = b"\0\0\x08\0"


def judge(
    frame: bytes,
    ingress_ifindex: int,
    state: ForwarderState,
    interfaces: Mapping[int, bytes] | None = None,
    *,
    within_rate: bool = True,
) -> Outcome:
    """Say what becomes of one frame. See `Oracle`, which is faster for many of them."""
    return Oracle(state, interfaces).judge(frame, ingress_ifindex, within_rate=within_rate)


class Oracle:
    """Judges frames against one state.

    `interfaces` gives the MAC of each interface by ifindex, as for `encode`; without it, every frame that is neither
    broadcast nor multicast counts as sent to us.
    """

    def __init__(self, state: ForwarderState, interfaces: Mapping[int, bytes] | None = None) -> None:
        self._state = state
        self._interfaces = interfaces
        self._vips = frozenset({s.vip for s in state.services} | state.echo_vips)
        self._backends = {b.id: b for b in state.backends}
        self._by_address = {b.address: b for b in sorted(state.backends, key=lambda b: -b.id)}
        self._never_clients = self._vips | state.infrastructure | frozenset(self._by_address)
        self._services = {(s.vip, int(s.protocol), s.port): s for s in state.services}

    def judge(self, frame: bytes, ingress_ifindex: int, *, within_rate: bool = True) -> Outcome:
        """Say what becomes of a frame. `within_rate` False: as when every rate limit is used up."""
        try:
            ip = read_link(frame)
            if ip.destination not in self._vips:
                raise PassedError(*self._tunnel_error(ip))
            self._check_macs(frame, ingress_ifindex)
            check_ipv4(ip)
            self._check_source(ip.source)
            return self._serve(frame, ip, ingress_ifindex, within_rate)
        except DroppedError as drop:
            return Outcome(Verdict.DROP, frame, drop.reason)
        except PassedError as passed:
            return Outcome(Verdict.PASS, frame, notes=frozenset(passed.notes))

    def choose(self, key: FlowKey, service: Service) -> Choice:
        """The slot and the backend of a flow of this service; needs no packet."""
        if service.port == 0:
            key = FlowKey(key.client, key.client_port, 0, key.protocol)
        number = flow_hash(key, self._state.seed)
        slot = slot_of(number, self._state.table_size)
        slots = self._state.pools[service.pool].slots
        return Choice(service.id, key, number, slot, slots[slot] if slots else 0)

    def find_service(self, vip: IPv4Address, protocol: int, port: int) -> Service | None:
        """The service of an address, IP protocol number and port; one on port 0 takes what no other does."""
        return self._services.get((vip, protocol, port)) or self._services.get((vip, protocol, 0))

    def _check_macs(self, frame: bytes, ifindex: int) -> None:
        destination, source = frame[:6], frame[6:12]
        if destination == b"\xff" * 6:
            raise DroppedError(Reason.L2_BCAST)
        if destination[0] & 1:
            raise DroppedError(Reason.L2_MCAST)
        if self._interfaces is not None and destination != self._interfaces.get(ifindex):
            raise PassedError(Note.OTHER_HOST)
        if source[0] & 1 or not any(source):
            raise DroppedError(Reason.L2_SRC)

    def _check_source(self, source: IPv4Address) -> None:
        if is_martian(source) or source in self._never_clients or source in self._state.outer_source:
            raise DroppedError(Reason.MARTIAN)

    def _serve(self, frame: bytes, ip: Ipv4, ifindex: int, within_rate: bool) -> Outcome:
        notes: set[Note] = set()
        if ip.protocol in (TCP, UDP):
            ports = _read_ports(ip)
            key = FlowKey(ip.source, ports[0], ports[1], ip.protocol)
        elif ip.protocol == ICMP and ip.payload[:1] == bytes((_ECHO,)):
            return self._echo(frame, ip, within_rate)
        elif ip.protocol == ICMP:
            key = self._quoted_flow(ip, notes, within_rate)
        else:
            raise DroppedError(Reason.NESTED if ip.protocol in TUNNELS else Reason.PROTO)
        if not key.client_port or not key.vip_port:
            raise DroppedError(Reason.PORT0)
        service = self.find_service(ip.destination, key.protocol, key.vip_port)
        if service is None:
            gue = ip.protocol == UDP and key.vip_port == _GUE_PORT
            return Outcome(Verdict.DROP, frame, Reason.NESTED if gue else Reason.NO_SERVICE, frozenset(notes))
        return self._send(frame, ip, ifindex, self.choose(key, service), notes, within_rate)

    def _send(
        self, frame: bytes, ip: Ipv4, ifindex: int, choice: Choice, notes: set[Note], within_rate: bool
    ) -> Outcome:
        backend = self._backends.get(choice.backend)
        reason = _refusal(choice.backend, backend)
        if backend is None or backend.next_hop is None:
            return Outcome(Verdict.DROP, frame, reason, frozenset(notes), choice)
        limit = min(self._state.mtu, 0xFFFF) - overhead_of(backend.encap)
        if ip.length > limit:
            return _too_big(frame, ip, limit, choice, notes, within_rate)
        if len(ip.raw) > ip.length:
            notes.add(Note.TRIMMED)
        hop = backend.next_hop
        if hop.ifindex != ifindex:
            notes.add(Note.REDIRECTED)
        ethernet = hop.destination_mac + hop.source_mac + b"\x08\0"
        verdict = Verdict.TX if hop.ifindex == ifindex else Verdict.REDIRECT
        return Outcome(
            verdict, ethernet + self._tunnelled(ip, backend, choice.hash), Reason.NONE, frozenset(notes), choice
        )

    def _tunnelled(self, ip: Ipv4, backend: Backend, number: int) -> bytes:
        payload = (_GRE_IPV4 if backend.encap is Encap.GRE else b"") + ip.packet
        network = self._state.outer_source
        source = IPv4Address(int(network.network_address) | number & int(network.hostmask))
        return ipv4_header(source, backend.address, backend.encap, len(payload), tos=ip.tos) + payload

    def _echo(self, frame: bytes, ip: Ipv4, within_rate: bool) -> Outcome:
        icmp = ip.payload
        checks = (
            (len(icmp) < 8, Reason.TRUNC),
            (len(icmp) >= 8 and icmp[1] != 0, Reason.ICMP_TYPE),
            (ip.destination not in self._state.echo_vips, Reason.ECHO_UNSERVED),
            (checksum(icmp) != 0, Reason.ICMP_CSUM),
            (not within_rate, Reason.ECHO_LIMIT),
        )
        for refused, reason in checks:
            if refused:
                raise DroppedError(reason)
        notes = {Note.ECHO_REPLY} | ({Note.TRIMMED} if len(ip.raw) > ip.length else set())
        unsummed = bytes((_ECHO_REPLY, 0, 0, 0)) + icmp[4:]
        reply = unsummed[:2] + checksum(unsummed).to_bytes(2, "big") + unsummed[4:]
        header = ipv4_header(ip.destination, ip.source, ICMP, len(reply), tos=ip.tos)
        return Outcome(Verdict.TX, _back(frame) + header + reply, notes=frozenset(notes))

    def _quoted_flow(self, ip: Ipv4, notes: set[Note], within_rate: bool) -> FlowKey:
        icmp = ip.payload
        if len(icmp) < 8:
            raise DroppedError(Reason.TRUNC)
        if icmp[0] not in _ERRORS:
            raise DroppedError(Reason.ICMP_TYPE)
        quoted = Ipv4.parse(icmp[8:])
        if quoted is None or quoted.version != 4 or quoted.header_length < IPV4:
            raise DroppedError(Reason.ICMP_TRUNC)
        checks = (
            (quoted.header_length > IPV4, Reason.ICMP_OPT),
            (quoted.fragment & 0x1FFF != 0, Reason.ICMP_FRAG),
            (quoted.source not in self._vips, Reason.ICMP_NOT_OURS),
            (quoted.source != ip.destination, Reason.ICMP_MISMATCH),
            (quoted.protocol not in (TCP, UDP), Reason.ICMP_NOT_OURS),
            (len(icmp) < 8 + IPV4 + 8, Reason.ICMP_TRUNC),
            (not within_rate, Reason.ICMP_LIMIT),
        )
        for refused, reason in checks:
            if refused:
                raise DroppedError(reason)
        notes.add(Note.ICMP_RELAYED)
        if icmp[:2] == bytes((_UNREACHABLE, _FRAGMENTATION_NEEDED)) and word(icmp, 6) < _SMALL_MTU:
            notes.add(Note.PTB_SMALL)
        ports = quoted.raw[IPV4:]
        return FlowKey(quoted.destination, word(ports, 2), word(ports, 0), quoted.protocol)

    def _tunnel_error(self, ip: Ipv4) -> tuple[Note, ...]:
        # The host's packet: nothing is checked that its kernel will check.
        icmp = ip.raw[IPV4:]
        if ip.protocol != ICMP or ip.header_length != IPV4 or ip.fragment or len(icmp) < 8:
            return ()
        quoted = Ipv4.parse(icmp[8:])
        if quoted is None or quoted.version != 4 or quoted.protocol not in TUNNELS:
            return ()
        if quoted.source not in self._state.outer_source or quoted.destination not in self._by_address:
            return ()
        if icmp[:2] == bytes((_UNREACHABLE, _FRAGMENTATION_NEEDED)):
            return (Note.ENCAP_PTB,)
        return (Note.ENCAP_UNREACH,) if icmp[0] in (_UNREACHABLE, _TIME_EXCEEDED) else ()


def _refusal(number: int, backend: Backend | None) -> Reason:
    if number == 0:
        return Reason.NO_BACKEND
    if backend is None or number > MAX_BACKENDS:
        return Reason.TABLE_CORRUPT
    return Reason.NONE if backend.next_hop else Reason.NEIGH


def _read_ports(ip: Ipv4) -> tuple[int, int]:
    segment = ip.payload
    if len(segment) < (20 if ip.protocol == TCP else 8):
        raise DroppedError(Reason.TRUNC)
    if ip.protocol == Protocol.TCP and not 20 <= (segment[12] >> 4) * 4 <= len(segment):
        raise DroppedError(Reason.L4)
    if ip.protocol == Protocol.UDP and not 8 <= word(segment, 4) <= len(segment):
        raise DroppedError(Reason.LEN)
    return word(segment, 0), word(segment, 2)


def _too_big(frame: bytes, ip: Ipv4, limit: int, choice: Choice, notes: set[Note], within_rate: bool) -> Outcome:
    if ip.protocol == ICMP:
        return Outcome(Verdict.DROP, frame, Reason.TOOBIG, frozenset(notes), choice)
    if not within_rate:
        return Outcome(Verdict.DROP, frame, Reason.TOOBIG, frozenset({*notes, Note.PTB_LIMITED}), choice)
    quote = ip.packet[: _ERROR_LENGTH - IPV4 - 8]
    front, back = bytes((_UNREACHABLE, _FRAGMENTATION_NEEDED)), b"\0\0" + limit.to_bytes(2, "big") + quote
    icmp = front + checksum(front + b"\0\0" + back).to_bytes(2, "big") + back
    header = ipv4_header(ip.destination, ip.source, ICMP, len(icmp), tos=0xC0, dont_fragment=False)
    return Outcome(Verdict.TX, _back(frame) + header + icmp, Reason.TOOBIG, frozenset({*notes, Note.PTB_SENT}), choice)


def _back(frame: bytes) -> bytes:
    """The Ethernet header that returns a frame to its sender."""
    return frame[6:12] + frame[:6] + frame[12:ETHERNET]
