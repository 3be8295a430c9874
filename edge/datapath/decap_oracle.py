"""What the decapsulator on a backend must do with a packet, said a second time in Python (core: no I/O)."""

from ipaddress import IPv4Address, IPv4Network

from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.encode import overhead_of
from edge.datapath.headers import (
    ETHERNET,
    GRE,
    IPIP,
    IPV4,
    TUNNELS,
    TYPE_IPV4,
    DroppedError,
    Ipv4,
    Outcome,
    PassedError,
    check_ipv4,
    checksum,
    is_martian,
    read_link,
    word,
)
from edge.datapath.model import DecapState, Encap

_GRE_HEADER = 4  # RFC 2784 without checksum
_GRE_KEY = 0x2000
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_NOT_ECT, _ECT1, _CE = 0, 1, 3


def judge_decap(frame: bytes, state: DecapState) -> Outcome:
    """Say what becomes of one frame at a backend."""
    try:
        outer = read_link(frame)
        if outer.destination != state.address or outer.protocol not in (IPIP, GRE):
            raise PassedError
        _check_outer(outer, state)
        inner = _inner_of(outer)
        _check_inner(inner, state)
        notes = {Note.DECAPSULATED}
        packet = _merge_ecn(outer.tos, inner.packet, notes)
        if len(frame) > ETHERNET + overhead_of(Encap(outer.protocol)) + inner.length:
            notes.add(Note.TRIMMED)
        return Outcome(Verdict.PASS, frame[:ETHERNET] + packet, notes=frozenset(notes))
    except DroppedError as drop:
        return Outcome(Verdict.DROP, frame, drop.reason)
    except PassedError as passed:
        return Outcome(Verdict.PASS, frame, notes=frozenset(passed.notes))


def _check_outer(outer: Ipv4, state: DecapState) -> None:
    try:
        check_ipv4(outer)
    except DroppedError as drop:
        # Bytes missing from the end of a tunnel packet: it was cut on its way.
        cut = drop.reason is Reason.LEN and outer.length > len(outer.raw)
        raise (DroppedError(Reason.TRUNC) if cut else drop) from None
    if not _is_edge(outer.source, state):
        raise DroppedError(Reason.BAD_OUTER)
    if outer.protocol not in {int(encap) for encap in state.encaps}:
        raise DroppedError(Reason.ENCAP_TYPE)


def _inner_of(outer: Ipv4) -> Ipv4:
    payload = outer.payload
    if outer.protocol == Encap.GRE:
        if len(payload) < _GRE_HEADER:
            raise DroppedError(Reason.TRUNC)
        flags = word(payload, 0)
        if flags & ~_GRE_KEY:
            raise DroppedError(Reason.GRE)
        if flags:
            raise DroppedError(Reason.KEY)
        if word(payload, 2) != TYPE_IPV4:
            raise DroppedError(Reason.GRE_PROTO)
        payload = payload[_GRE_HEADER:]
    inner = Ipv4.parse(payload)
    if inner is None:
        raise DroppedError(Reason.TRUNC)
    if inner.version != 4:
        raise DroppedError(Reason.VERSION)
    return inner


def _check_inner(inner: Ipv4, state: DecapState) -> None:
    check_ipv4(inner)
    if inner.protocol in TUNNELS:
        raise DroppedError(Reason.NESTED)
    if inner.destination not in state.vips:
        internal = _is_machine(inner.destination, state) or is_martian(inner.destination)
        private = any(inner.destination in network for network in _PRIVATE)
        raise DroppedError(Reason.INNER_DST if internal or private else Reason.MISDELIVERED)
    if inner.source in state.vips or _is_machine(inner.source, state) or is_martian(inner.source):
        raise DroppedError(Reason.MARTIAN)


def _is_edge(address: IPv4Address, state: DecapState) -> bool:
    return any(address in network for network in state.edges)


def _is_machine(address: IPv4Address, state: DecapState) -> bool:
    return address == state.address or address in state.infrastructure or _is_edge(address, state)


def _merge_ecn(outer_tos: int, packet: bytes, notes: set[Note]) -> bytes:
    """RFC 6040, figure 4."""
    outer, inner = outer_tos & 3, packet[1] & 3
    if inner == _NOT_ECT:
        if outer == _CE:
            raise DroppedError(Reason.ECN)
        return packet
    if inner == _CE or outer not in (_ECT1, _CE) or outer == inner:
        return packet
    if outer == _CE:
        notes.add(Note.ECN_CE)
    marked = packet[:1] + bytes((packet[1] & ~3 | outer,)) + packet[2:10] + b"\0\0" + packet[12:]
    return marked[:10] + checksum(marked[:IPV4]).to_bytes(2, "big") + marked[12:]
