"""The BFD control packet: read, written, and refused with a reason (RFC 5880 4.1 to 4.4 and 6.8.6; core: no I/O).

All times on the wire are microseconds.
"""

import enum
import struct
from dataclasses import dataclass
from typing import Final

VERSION: Final = 1
HEADER: Final = struct.Struct("!BBBBIIIII")
PASSWORD_MAX: Final = 16
DIGEST_LENGTH: Final = 20
"""Bytes of a SHA1 digest; a shorter key is filled up with zeros (RFC 5880 4.4)."""

_POLL, _FINAL, _CPI, _AUTH, _DEMAND, _MULTIPOINT = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01
_SHA1 = struct.Struct("!BBBBI")


class State(enum.IntEnum):
    """A session's state as it is sent (RFC 5880 4.1)."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3


class Diag(enum.IntEnum):
    """Why a session left Up (RFC 5880 4.1)."""

    NONE = 0
    DETECTION_EXPIRED = 1
    ECHO_FAILED = 2
    NEIGHBOR_DOWN = 3
    FORWARDING_RESET = 4
    PATH_DOWN = 5
    CONCATENATED_DOWN = 6
    ADMIN_DOWN = 7
    REVERSE_CONCATENATED_DOWN = 8


class AuthType(enum.IntEnum):
    """Those that are spoken here. MD5 (2 and 3) is not: RFC 5880 asks for SHA1."""

    PASSWORD = 1
    SHA1 = 4
    METICULOUS_SHA1 = 5


class Refusal(enum.Enum):
    """Why a packet was not taken, in the order of the checks; each has a counter, and none may grow in health."""

    TTL = "its TTL or hop limit was not 255"
    TOO_SHORT = "it is shorter than a header"
    VERSION = "its version is not 1"
    LENGTH_SMALL = "its length field is too small"
    LENGTH_LARGE = "its length field is larger than the packet"
    DETECT_MULT = "its detection multiplier is 0"
    MULTIPOINT = "its multipoint bit is set"
    MY_DISCRIMINATOR = "its own discriminator is 0"
    STATE = "it names no session, and its state is neither Down nor AdminDown"
    AUTH_SECTION = "its authentication section is malformed"
    UNKNOWN_SESSION = "it names a session that does not exist"
    UNKNOWN_PEER = "its sender is no peer"
    WRONG_PEER = "it names the session of another peer"
    AUTH_UNEXPECTED = "it is authenticated, and this session is not"
    AUTH_MISSING = "it is not authenticated, and this session is"
    AUTH_TYPE = "its authentication type is not this session's"
    AUTH_KEY_ID = "its key id is not this session's"
    AUTH_VALUE = "its password or digest is wrong"
    AUTH_SEQUENCE = "its sequence number is outside the window"


class PacketError(ValueError):
    """A packet that must be discarded; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class AuthSection:
    """`value` is the password or the digest; `sequence` is 0 for a password, which has none."""

    type: int
    key_id: int
    sequence: int
    value: bytes


@dataclass(frozen=True, slots=True)
class ControlPacket:
    """One control packet; `my` and `your` are discriminators, `desired_tx`, `required_rx`, `required_echo` in us."""

    state: State
    my: int
    your: int
    desired_tx: int
    required_rx: int
    detect_mult: int
    diag: int = Diag.NONE
    poll: bool = False
    final: bool = False
    cpi: bool = False
    demand: bool = False
    required_echo: int = 0
    auth: AuthSection | None = None


def encode(packet: ControlPacket) -> bytes:
    """The packet's bytes; an authentication section is written as it stands."""
    auth = b"" if packet.auth is None else _encode_auth(packet.auth)
    flags = (
        (_POLL if packet.poll else 0)
        | (_FINAL if packet.final else 0)
        | (_CPI if packet.cpi else 0)
        | (_AUTH if auth else 0)
        | (_DEMAND if packet.demand else 0)
    )
    return (
        HEADER.pack(
            VERSION << 5 | packet.diag,
            packet.state << 6 | flags,
            packet.detect_mult,
            HEADER.size + len(auth),
            packet.my,
            packet.your,
            packet.desired_tx,
            packet.required_rx,
            packet.required_echo,
        )
        + auth
    )


def decode(data: bytes) -> ControlPacket:
    """Read a packet; bytes behind its length field are ignored.

    Raises PacketError for each check of RFC 5880 6.8.6 that needs no session.
    """
    if len(data) < HEADER.size:
        raise PacketError(Refusal.TOO_SHORT)
    first, flags, mult, length, my, your, desired_tx, required_rx, required_echo = HEADER.unpack_from(data)
    has_auth = bool(flags & _AUTH)
    state = State(flags >> 6)
    faults = (
        (first >> 5 != VERSION, Refusal.VERSION),
        (length < HEADER.size + (2 if has_auth else 0), Refusal.LENGTH_SMALL),
        (length > len(data), Refusal.LENGTH_LARGE),
        (mult == 0, Refusal.DETECT_MULT),
        (flags & _MULTIPOINT, Refusal.MULTIPOINT),
        (my == 0, Refusal.MY_DISCRIMINATOR),
        (your == 0 and state not in (State.DOWN, State.ADMIN_DOWN), Refusal.STATE),
    )
    for wrong, refusal in faults:
        if wrong:
            raise PacketError(refusal)
    return ControlPacket(
        state=state,
        my=my,
        your=your,
        desired_tx=desired_tx,
        required_rx=required_rx,
        detect_mult=mult,
        diag=first & 0x1F,
        poll=bool(flags & _POLL),
        final=bool(flags & _FINAL),
        cpi=bool(flags & _CPI),
        demand=bool(flags & _DEMAND),
        required_echo=required_echo,
        auth=_decode_auth(data[HEADER.size : length]) if has_auth else None,
    )


def diag_word(diag: int) -> str:
    """A diagnostic code in words; the codes from 9 on are reserved."""
    return Diag(diag).name.lower().replace("_", " ") if diag in set(Diag) else f"diag {diag}"


def _encode_auth(auth: AuthSection) -> bytes:
    if auth.type == AuthType.PASSWORD:
        return bytes((auth.type, 3 + len(auth.value), auth.key_id)) + auth.value
    return _SHA1.pack(auth.type, _SHA1.size + DIGEST_LENGTH, auth.key_id, 0, auth.sequence) + auth.value


def _decode_auth(section: bytes) -> AuthSection:
    """A type that is not spoken here comes back without its content: no session can be using it."""
    kind, length = section[0], section[1]
    if length > len(section):
        raise PacketError(Refusal.AUTH_SECTION)
    if kind == AuthType.PASSWORD:
        if not 4 <= length <= 3 + PASSWORD_MAX:
            raise PacketError(Refusal.AUTH_SECTION)
        return AuthSection(kind, section[2], 0, section[3:length])
    if kind in (AuthType.SHA1, AuthType.METICULOUS_SHA1):
        if length != _SHA1.size + DIGEST_LENGTH:
            raise PacketError(Refusal.AUTH_SECTION)
        _, _, key_id, _, sequence = _SHA1.unpack_from(section)
        return AuthSection(kind, key_id, sequence, section[_SHA1.size : length])
    return AuthSection(kind, 0, 0, b"")
