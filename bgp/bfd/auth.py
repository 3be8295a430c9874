"""Authentication of control packets: what is signed, what is believed, and the sequence numbers (RFC 5880 6.7; core).

No MD5. A secret is never part of a repr.
"""

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from typing import Final

from bgp.bfd.packet import DIGEST_LENGTH, AuthSection, AuthType, ControlPacket, PacketError, Refusal, encode

_CIRCLE: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class BfdAuth:
    """One key: `secret` is 1 to 16 bytes for a password, 1 to 20 for SHA1; `key_id` 0 to 255."""

    type: AuthType
    key_id: int
    secret: bytes = field(repr=False)


class Signer:
    """Signs what one session sends and checks what it receives. `sequence` starts at random (RFC 5880 6.8.1)."""

    def __init__(self, auth: BfdAuth | None, sequence: int) -> None:
        self._auth = auth
        self._sent = sequence % _CIRCLE
        self._last: ControlPacket | None = None
        self._received: int | None = None
        self._received_at = 0.0

    def sign(self, packet: ControlPacket) -> bytes:
        """The bytes to send. Meticulous: each packet has a new number; otherwise each new content has one."""
        auth = self._auth
        if auth is None:
            return encode(packet)
        if auth.type is AuthType.PASSWORD:
            return encode(replace(packet, auth=AuthSection(auth.type, auth.key_id, 0, auth.secret)))
        if auth.type is AuthType.METICULOUS_SHA1 or packet != self._last:
            self._sent = (self._sent + 1) % _CIRCLE
        self._last = packet
        padded = auth.secret.ljust(DIGEST_LENGTH, b"\0")
        whole = encode(replace(packet, auth=AuthSection(auth.type, auth.key_id, self._sent, padded)))
        return whole[:-DIGEST_LENGTH] + hashlib.sha1(whole, usedforsecurity=False).digest()

    def check(self, data: bytes, packet: ControlPacket, now: float, forget_after: float) -> None:
        """Raises PacketError for a packet that is not the peer's; `data` is what `packet` was decoded from.

        The number of the last packet is forgotten when none was believed for `forget_after` seconds, which is twice
        the detection time (RFC 5880 6.8.1, bfd.AuthSeqKnown).
        """
        auth, section = self._auth, packet.auth
        if auth is None or section is None:
            if section is not None:
                raise PacketError(Refusal.AUTH_UNEXPECTED)
            if auth is not None:
                raise PacketError(Refusal.AUTH_MISSING)
            return
        if section.type != auth.type:
            raise PacketError(Refusal.AUTH_TYPE)
        if section.key_id != auth.key_id:
            raise PacketError(Refusal.AUTH_KEY_ID)
        if not hmac.compare_digest(section.value, _expected(auth, data)):
            raise PacketError(Refusal.AUTH_VALUE)
        if auth.type is not AuthType.PASSWORD:
            self._check_sequence(auth, packet, section.sequence, now - self._received_at >= forget_after)
            self._received_at = now

    def _check_sequence(self, auth: BfdAuth, packet: ControlPacket, sequence: int, forgotten: bool) -> None:
        if self._received is not None and not forgotten:
            ahead = (sequence - self._received) % _CIRCLE
            least = 1 if auth.type is AuthType.METICULOUS_SHA1 else 0
            if not least <= ahead <= 3 * packet.detect_mult:
                raise PacketError(Refusal.AUTH_SEQUENCE)
        self._received = sequence


def _expected(auth: BfdAuth, data: bytes) -> bytes:
    if auth.type is AuthType.PASSWORD:
        return auth.secret
    signed = data[: data[3] - DIGEST_LENGTH] + auth.secret.ljust(DIGEST_LENGTH, b"\0")
    return hashlib.sha1(signed, usedforsecurity=False).digest()
