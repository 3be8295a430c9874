"""What the decapsulator on a backend must do with a packet, said a second time in Python (core: no I/O)."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.addresses import MARTIANS4, PRIVATE4, is_single
from edge.datapath.headers import (
    FRAGMENT,
    GRE,
    IPV4,
    TUNNELS,
    TYPE_IPV4,
    TYPE_IPV6,
    Ip,
    check_ipv4,
    checksum,
    parse_ipv4,
    parse_ipv6,
    read_link,
    refuse_extensions,
    word,
)
from edge.datapath.model import DecapState, Encap, IpAddress, IpNetwork
from edge.datapath.oracle_addresses import MARTIANS6, PRIVATE6, Addresses, within
from edge.datapath.outcome import DroppedError, Outcome, PassedError

_GRE_HEADER, _GRE_WITH_KEY = 4, 8  # RFC 2784 without checksum, RFC 2890
_GRE_KEY = 0x2000
_ETHERTYPES = {4: TYPE_IPV4, 6: TYPE_IPV6}
# Inner destinations that only a machine of ours has: an attack, not a configuration that differs.
_INTERNAL: tuple[IpNetwork, ...] = (
    *MARTIANS4,
    *PRIVATE4,
    *MARTIANS6,
    *PRIVATE6,
)
_NOT_ECT, _ECT1, _CE = 0, 1, 3


def judge_decap(frame: bytes, state: DecapState) -> Outcome:
    """Say what becomes of one frame at a backend. See `DecapOracle`, which is faster for many of them."""
    return DecapOracle(state).judge(frame)


@dataclass(frozen=True, slots=True)
class _Tunnel:
    """What a tunnel carries: the bytes behind its headers, and the IP version that its headers tell."""

    payload: bytes
    version: int


class DecapOracle:
    """Judges frames against one state."""

    def __init__(self, state: DecapState) -> None:
        self._state = state
        singles = {edge.network_address for edge in state.edges if is_single(edge)}
        self._addresses = Addresses(state.vips, state.addresses | state.infrastructure | singles, state.edges)

    def judge(self, frame: bytes) -> Outcome:
        """Say what becomes of a frame."""
        try:
            at, outer = read_link(frame)
            if outer.destination not in self._state.addresses or outer.protocol not in TUNNELS:
                raise PassedError
            self._check_outer(outer)
            inner = _inner_of(self._tunnel(outer))
            self._check_inner(inner)
            notes = {Note.DECAPSULATED}
            packet = _merge_ecn(outer.tos, inner, notes)
            if len(inner.raw) > inner.length or len(outer.raw) > outer.length:
                notes.add(Note.TRIMMED)
            link = frame[: at - 2] + _ETHERTYPES[inner.version].to_bytes(2, "big")
            return Outcome(Verdict.PASS, link + packet, notes=frozenset(notes))
        except DroppedError as drop:
            return Outcome(Verdict.DROP, frame, drop.reason)
        except PassedError as passed:
            return Outcome(Verdict.PASS, frame, notes=frozenset(passed.notes))

    def _check_outer(self, outer: Ip) -> None:
        try:
            _check_lengths(outer)
        except DroppedError as drop:
            # Bytes missing from the end of a tunnel packet: it was cut on its way.
            cut = drop.reason is Reason.LEN and outer.length > len(outer.raw)
            raise (DroppedError(Reason.TRUNC) if cut else drop) from None
        if not within(outer.source, self._state.edges):
            raise DroppedError(Reason.BAD_OUTER)
        if (Encap.GRE if outer.protocol == GRE else Encap.IPIP) not in self._state.encaps:
            raise DroppedError(Reason.ENCAP_TYPE)

    def _tunnel(self, outer: Ip) -> _Tunnel:
        payload = outer.payload
        if outer.protocol != GRE:
            return _Tunnel(payload, 4 if outer.protocol == Encap.IPIP else 6)
        if len(payload) < _GRE_HEADER:
            raise DroppedError(Reason.TRUNC)
        flags, kind = word(payload, 0), word(payload, 2)
        if flags & ~_GRE_KEY:
            raise DroppedError(Reason.GRE)
        header = self._check_key(payload, bool(flags))
        if kind not in _ETHERTYPES.values():
            raise DroppedError(Reason.GRE_PROTO)
        return _Tunnel(payload[header:], 4 if kind == TYPE_IPV4 else 6)

    def _check_key(self, payload: bytes, present: bool) -> int:
        """The length of the GRE header."""
        if present != (self._state.key is not None):
            raise DroppedError(Reason.KEY)
        if self._state.key is None:
            return _GRE_HEADER
        if len(payload) < _GRE_WITH_KEY:
            raise DroppedError(Reason.TRUNC)
        if payload[_GRE_HEADER:_GRE_WITH_KEY] != self._state.key.to_bytes(4, "big"):
            raise DroppedError(Reason.KEY)
        return _GRE_WITH_KEY

    def _check_inner(self, inner: Ip) -> None:
        _check_lengths(inner)
        if inner.fixed != IPV4:
            if inner.protocol == FRAGMENT:
                raise DroppedError(Reason.FRAG)
            refuse_extensions(inner)
        if inner.protocol in TUNNELS:
            raise DroppedError(Reason.NESTED)
        if self._addresses.vip_of(inner.destination) is None:
            raise DroppedError(Reason.INNER_DST if self._is_internal(inner.destination) else Reason.MISDELIVERED)
        if not self._addresses.is_client(inner.source):
            raise DroppedError(Reason.MARTIAN)

    def _is_internal(self, address: IpAddress) -> bool:
        return self._addresses.is_machine(address) or within(address, _INTERNAL)


def _check_lengths(ip: Ip) -> None:
    if ip.fixed == IPV4:
        check_ipv4(ip)
    elif ip.length > len(ip.raw):
        raise DroppedError(Reason.LEN)
    elif not ip.ttl:
        raise DroppedError(Reason.TTL)


def _inner_of(tunnel: _Tunnel) -> Ip:
    inner = (parse_ipv4 if tunnel.version == 4 else parse_ipv6)(tunnel.payload)
    if inner is None:
        raise DroppedError(Reason.TRUNC)
    if inner.version != tunnel.version:
        raise DroppedError(Reason.VERSION)
    return inner


def _merge_ecn(outer_tos: int, inner: Ip, notes: set[Note]) -> bytes:
    """The inner packet with the congestion mark that RFC 6040, figure 4, gives it."""
    outer, own, packet = outer_tos & 3, inner.tos & 3, inner.packet
    if own == _NOT_ECT:
        if outer == _CE:
            raise DroppedError(Reason.ECN)
        return packet
    if own == _CE or outer not in (_ECT1, _CE) or outer == own:
        return packet
    if outer == _CE:
        notes.add(Note.ECN_CE)
    tos = inner.tos & ~3 | outer
    if not isinstance(inner.source, IPv4Address):
        first = word(packet, 0) & 0xF00F | tos << 4
        return first.to_bytes(2, "big") + packet[2:]
    marked = packet[:1] + bytes((tos,)) + packet[2:10] + b"\0\0" + packet[12:]
    return marked[:10] + checksum(marked[:IPV4]).to_bytes(2, "big") + marked[12:]
