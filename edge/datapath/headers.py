"""IPv4 headers as the oracles read them (core: no I/O). Written from the RFCs, not from the C code it judges."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.hashing import FlowKey

ETHERNET = 14
IPV4 = 20
TYPE_IPV4, TYPE_IPV6, TYPE_VLAN, TYPE_QINQ = 0x0800, 0x86DD, 0x8100, 0x88A8
ICMP, IPIP, TCP, UDP, SIX_IN_FOUR, GRE = 1, 4, 6, 17, 41, 47
TUNNELS = frozenset({IPIP, SIX_IN_FOUR, GRE})
_MARTIAN_SOURCES = tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")))


class DroppedError(Exception):
    """Ends the examination of a packet: it is dropped for `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.label)
        self.reason = reason


class PassedError(Exception):
    """Ends the examination of a packet: it is the host's, and stays as it is."""

    def __init__(self, *notes: Note) -> None:
        super().__init__(", ".join(note.label for note in notes))
        self.notes = notes


@dataclass(frozen=True, slots=True)
class Choice:
    """How a flow found its backend. `backend` is 0 when the slot names none, or one that does not exist."""

    service: int
    key: FlowKey
    hash: int
    slot: int
    backend: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a packet: verdict, the frame afterwards, the reason if it counts as dropped, and what is noted.

    A packet that was too big and answered counts as dropped, while the verdict is TX: the frame is the answer.
    """

    verdict: Verdict
    frame: bytes
    reason: Reason = Reason.NONE
    notes: frozenset[Note] = field(default_factory=frozenset)
    choice: Choice | None = None


@dataclass(frozen=True, slots=True)
class Ipv4:
    """A header as found, not checked; `raw` starts with it and may be longer than the packet (padding)."""

    raw: bytes
    version: int
    header_length: int
    tos: int
    length: int
    fragment: int
    ttl: int
    protocol: int
    source: IPv4Address
    destination: IPv4Address

    @classmethod
    def parse(cls, raw: bytes) -> "Ipv4 | None":
        """Read the fixed 20 bytes; None when they are not all there."""
        if len(raw) < IPV4:
            return None
        return cls(
            raw,
            raw[0] >> 4,
            (raw[0] & 15) * 4,
            raw[1],
            word(raw, 2),
            word(raw, 6) & 0x3FFF,
            raw[8],
            raw[9],
            IPv4Address(raw[12:16]),
            IPv4Address(raw[16:20]),
        )

    @property
    def packet(self) -> bytes:
        """The bytes that belong to the packet, without what follows it in the frame."""
        return self.raw[: self.length]

    @property
    def payload(self) -> bytes:
        """What follows the fixed header."""
        return self.raw[IPV4 : self.length]


def check_ipv4(ip: Ipv4) -> None:
    """Refuse what RFC 1812 5.2.2 refuses, and options and fragments. The order decides which reason is counted."""
    room = len(ip.raw)
    checks = (
        (ip.header_length < IPV4, Reason.IHL),
        (ip.length < IPV4, Reason.LEN),
        (ip.header_length > min(room, ip.length), Reason.TRUNC),
        (ip.length > room, Reason.LEN),
        (ip.header_length > IPV4, Reason.IP_OPTIONS),
        (checksum(ip.raw[:IPV4]) != 0, Reason.CSUM),
        (ip.ttl == 0, Reason.TTL),
        (ip.fragment != 0, Reason.FRAG),
    )
    for refused, reason in checks:
        if refused:
            raise DroppedError(reason)


def read_link(frame: bytes) -> Ipv4:
    """Take the Ethernet header off; anything but IPv4 ends here."""
    if len(frame) < ETHERNET:
        raise DroppedError(Reason.SHORT)
    kind, rest = word(frame, 12), frame[ETHERNET:]
    if kind in (TYPE_VLAN, TYPE_QINQ):
        raise PassedError(Note.VLAN)
    if kind not in (TYPE_IPV4, TYPE_IPV6):
        raise PassedError
    if kind == TYPE_IPV6:
        if not rest:
            raise DroppedError(Reason.TRUNC)
        if rest[0] >> 4 != 6:
            raise DroppedError(Reason.IP_VERSION)
        raise PassedError(Note.IPV6)
    ip = Ipv4.parse(rest)
    if ip is None:
        raise DroppedError(Reason.TRUNC)
    if ip.version != 4:
        raise DroppedError(Reason.IP_VERSION)
    return ip


def is_martian(address: IPv4Address) -> bool:
    """Whether no packet from afar can have this source (RFC 1812 5.3.7, RFC 6890)."""
    return any(address in network for network in _MARTIAN_SOURCES)


def word(data: bytes, at: int) -> int:
    """The 16-bit number in network order at an offset."""
    return data[at] << 8 | data[at + 1]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of bytes; 0 over data that holds its own right checksum."""
    if len(data) % 2:
        data += b"\0"
    total = int.from_bytes(data, "big") % 0xFFFF
    # 0 and 0xffff are both zero in ones' complement; a sum over anything but zeros comes out as 0xffff.
    return 0xFFFF - (total or (0xFFFF if any(data) else 0))


def ipv4_header(
    source: IPv4Address,
    destination: IPv4Address,
    protocol: int,
    payload: int,
    *,
    tos: int = 0,
    dont_fragment: bool = True,
) -> bytes:
    """A header as the edge writes it: TTL 64, identification 0 (RFC 6864), no options, for `payload` bytes."""
    length = (IPV4 + payload).to_bytes(2, "big")
    flags = b"\x40\0" if dont_fragment else b"\0\0"
    addresses = source.packed + destination.packed
    front, back = b"\x45" + bytes((tos,)) + length + b"\0\0" + flags + bytes((64, protocol)), addresses
    return front + checksum(front + b"\0\0" + back).to_bytes(2, "big") + back
