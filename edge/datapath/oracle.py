"""What the forwarder must do with a packet, said a second time in Python (core: no I/O).

Tests hold the program against it, `why` explains with it. It follows the rules of docs/adr/0002-data-path.md and reads
a `ForwarderState` instead of maps.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address

from edge.datapath import oracle_icmp
from edge.datapath.abi import Note, Reason, Verdict
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
    ipv4_header,
    is_martian,
    read_link,
    word,
)
from edge.datapath.model import Backend, Encap, ForwarderState, Service

_GUE_PORT = 6080
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
        self._backend_addresses = frozenset(b.address for b in state.backends)
        self._never_clients = self._vips | state.infrastructure | self._backend_addresses
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
            if ip.protocol == ICMP and ip.payload[:1] == bytes((oracle_icmp.ECHO,)):
                return self._echo(frame, ip, within_rate)
            key = self._flow(ip)
            service = self._service(ip, key)
            return self._send(frame, ip, ingress_ifindex, self.choose(key, service), within_rate)
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

    def _flow(self, ip: Ipv4) -> FlowKey:
        if ip.protocol in (TCP, UDP):
            client_port, vip_port = _ports(ip)
            key = FlowKey(ip.source, client_port, vip_port, ip.protocol)
        elif ip.protocol == ICMP:
            key = oracle_icmp.quoted_flow(ip, self._vips)
        else:
            raise DroppedError(Reason.NESTED if ip.protocol in TUNNELS else Reason.PROTO)
        if not key.client_port or not key.vip_port:
            raise DroppedError(Reason.PORT0)
        return key

    def _service(self, ip: Ipv4, key: FlowKey) -> Service:
        service = self.find_service(ip.destination, key.protocol, key.vip_port)
        if service is None:
            gue = ip.protocol == UDP and key.vip_port == _GUE_PORT
            raise DroppedError(Reason.NESTED if gue else Reason.NO_SERVICE)
        return service

    def _send(self, frame: bytes, ip: Ipv4, ifindex: int, choice: Choice, within_rate: bool) -> Outcome:
        backend = self._backends.get(choice.backend)
        if backend is None:
            return _dropped(frame, Reason.TABLE_CORRUPT if choice.backend else Reason.NO_BACKEND, choice)
        hop = backend.next_hop
        if hop is None:
            return _dropped(frame, Reason.NEIGH, choice)
        limit = self._state.mtu - overhead_of(backend.encap)
        if ip.length > limit:
            return _too_big(frame, ip, limit, choice, within_rate)
        is_error = ip.protocol == ICMP
        if is_error and not within_rate:
            return _dropped(frame, Reason.ICMP_LIMIT, choice)
        noted = {
            Note.TRIMMED: len(ip.raw) > ip.length,
            Note.REDIRECTED: hop.ifindex != ifindex,
            Note.ICMP_RELAYED: is_error,
            Note.PTB_SMALL: is_error and oracle_icmp.tells_small_mtu(ip.payload),
        }
        verdict = Verdict.REDIRECT if noted[Note.REDIRECTED] else Verdict.TX
        after = hop.destination_mac + hop.source_mac + b"\x08\0" + self._tunnelled(ip, backend, choice.hash)
        return Outcome(verdict, after, notes=frozenset(note for note in noted if noted[note]), choice=choice)

    def _tunnelled(self, ip: Ipv4, backend: Backend, number: int) -> bytes:
        payload = (_GRE_IPV4 if backend.encap is Encap.GRE else b"") + ip.packet
        network = self._state.outer_source
        source = IPv4Address(int(network.network_address) | number & int(network.hostmask))
        return ipv4_header(source, backend.address, backend.encap, len(payload), tos=ip.tos) + payload

    def _echo(self, frame: bytes, ip: Ipv4, within_rate: bool) -> Outcome:
        oracle_icmp.check_echo(ip.payload, ip.destination in self._state.echo_vips, within_rate)
        notes = {Note.ECHO_REPLY} | ({Note.TRIMMED} if len(ip.raw) > ip.length else set())
        return Outcome(Verdict.TX, _returned(frame) + oracle_icmp.echo_reply(ip), notes=frozenset(notes))

    def _tunnel_error(self, ip: Ipv4) -> tuple[Note, ...]:
        # The host's packet: nothing is checked that its kernel will check.
        icmp = ip.raw[IPV4:]
        if ip.protocol != ICMP or ip.header_length != IPV4 or ip.fragment:
            return ()
        quoted = Ipv4.parse(icmp[8:])
        if quoted is None or quoted.version != 4 or quoted.protocol not in TUNNELS:
            return ()
        if quoted.source not in self._state.outer_source or quoted.destination not in self._backend_addresses:
            return ()
        if oracle_icmp.is_too_big(icmp):
            return (Note.ENCAP_PTB,)
        unreachable = icmp[0] in (oracle_icmp.UNREACHABLE, oracle_icmp.TIME_EXCEEDED)
        return (Note.ENCAP_UNREACH,) if unreachable else ()


def _ports(ip: Ipv4) -> tuple[int, int]:
    segment = ip.payload
    if len(segment) < (20 if ip.protocol == TCP else 8):
        raise DroppedError(Reason.TRUNC)
    if ip.protocol == TCP and not 20 <= (segment[12] >> 4) * 4 <= len(segment):
        raise DroppedError(Reason.L4)
    if ip.protocol == UDP and not 8 <= word(segment, 4) <= len(segment):
        raise DroppedError(Reason.LEN)
    return word(segment, 0), word(segment, 2)


def _dropped(frame: bytes, reason: Reason, choice: Choice, *notes: Note) -> Outcome:
    return Outcome(Verdict.DROP, frame, reason, frozenset(notes), choice)


def _too_big(frame: bytes, ip: Ipv4, limit: int, choice: Choice, within_rate: bool) -> Outcome:
    if ip.protocol == ICMP:
        return _dropped(frame, Reason.TOOBIG, choice)
    if not within_rate:
        return _dropped(frame, Reason.TOOBIG, choice, Note.PTB_LIMITED)
    answer = _returned(frame) + oracle_icmp.too_big(ip, limit)
    return Outcome(Verdict.TX, answer, Reason.TOOBIG, frozenset({Note.PTB_SENT}), choice)


def _returned(frame: bytes) -> bytes:
    """The Ethernet header that sends a frame back."""
    return frame[6:12] + frame[:6] + frame[12:ETHERNET]
