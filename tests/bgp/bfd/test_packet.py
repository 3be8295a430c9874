"""The codec and the keys: what is written is read back, and each way to be wrong has its reason."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.bfd.auth import BfdAuth, Signer
from bgp.bfd.packet import AuthSection, AuthType, ControlPacket, PacketError, Refusal, State, decode, encode

U32 = st.integers(0, 2**32 - 1)
PACKET = ControlPacket(State.UP, 0x01020304, 0x0A0B0C0D, 10_000, 20_000, 3)
SHA1 = BfdAuth(AuthType.SHA1, 7, b"key")
METICULOUS = BfdAuth(AuthType.METICULOUS_SHA1, 7, b"key")
PASSWORD = BfdAuth(AuthType.PASSWORD, 7, b"open")


def sections() -> st.SearchStrategy[AuthSection | None]:
    key = st.integers(0, 255)
    password = st.builds(AuthSection, st.just(1), key, st.just(0), st.binary(min_size=1, max_size=16))
    digest = st.builds(AuthSection, st.sampled_from([4, 5]), key, U32, st.binary(min_size=20, max_size=20))
    return st.one_of(st.none(), password, digest)


@given(
    st.builds(
        ControlPacket,
        state=st.sampled_from([State.DOWN, State.ADMIN_DOWN]),
        my=st.integers(1, 2**32 - 1),
        your=U32,
        desired_tx=U32,
        required_rx=U32,
        detect_mult=st.integers(1, 255),
        diag=st.integers(0, 31),
        poll=st.booleans(),
        final=st.booleans(),
        cpi=st.booleans(),
        demand=st.booleans(),
        required_echo=U32,
        auth=sections(),
    ),
    st.binary(max_size=4),
)
def test_what_is_written_is_read_back_whatever_follows_it(packet: ControlPacket, trailer: bytes) -> None:
    assert decode(encode(packet) + trailer) == packet


@given(st.binary(max_size=80))
def test_any_bytes_are_a_packet_or_refused(data: bytes) -> None:
    try:
        decode(data)
    except PacketError as error:
        assert error.refusal in Refusal


def test_the_bytes_are_those_of_the_rfc() -> None:
    wire = encode(replace(PACKET, diag=3, poll=True))
    assert wire.hex() == "23e00318" + "01020304" + "0a0b0c0d" + "00002710" + "00004e20" + "00000000"


def changed(**at: int) -> bytes:
    data = bytearray(encode(PACKET))
    for place, value in at.items():
        data[int(place[1:])] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (encode(PACKET)[:23], Refusal.TOO_SHORT),
        (b"", Refusal.TOO_SHORT),
        (changed(b0=0), Refusal.VERSION),
        (changed(b0=2 << 5), Refusal.VERSION),
        (changed(b3=23), Refusal.LENGTH_SMALL),
        (changed(b1=0xC4, b3=25) + b"\1\4", Refusal.LENGTH_SMALL),
        (changed(b3=25), Refusal.LENGTH_LARGE),
        (changed(b2=0), Refusal.DETECT_MULT),
        (changed(b1=0xC1), Refusal.MULTIPOINT),
        (changed(b4=0, b5=0, b6=0, b7=0), Refusal.MY_DISCRIMINATOR),
        (changed(b8=0, b9=0, b10=0, b11=0), Refusal.STATE),
        (changed(b1=0x80, b8=0, b9=0, b10=0, b11=0), Refusal.STATE),
        (changed(b1=0xC4, b3=28) + bytes([1, 5, 1, 65]), Refusal.AUTH_SECTION),
        (changed(b1=0xC4, b3=27) + bytes([1, 3, 1]), Refusal.AUTH_SECTION),
        (changed(b1=0xC4, b3=44) + bytes([1, 20, 1]) + bytes(17), Refusal.AUTH_SECTION),
        (changed(b1=0xC4, b3=51) + bytes([4, 27, 1]) + bytes(24), Refusal.AUTH_SECTION),
    ],
)
def test_each_way_to_be_malformed_has_its_reason(data: bytes, refusal: Refusal) -> None:
    with pytest.raises(PacketError) as caught:
        decode(data)
    assert caught.value.refusal is refusal


def taken(receiver: Signer, data: bytes, now: float = 1.0) -> Refusal | None:
    try:
        receiver.check(data, decode(data), now, 0.06)
    except PacketError as error:
        return error.refusal
    return None


@pytest.mark.parametrize("auth", [PASSWORD, SHA1, METICULOUS])
def test_the_right_key_is_believed_and_no_other(auth: BfdAuth) -> None:
    sent = Signer(auth, 41).sign(PACKET)
    assert taken(Signer(auth, 0), sent) is None
    assert taken(Signer(None, 0), sent) is Refusal.AUTH_UNEXPECTED
    assert taken(Signer(auth, 0), encode(PACKET)) is Refusal.AUTH_MISSING
    assert taken(Signer(replace(auth, key_id=8), 0), sent) is Refusal.AUTH_KEY_ID
    assert taken(Signer(replace(auth, secret=b"other"), 0), sent) is Refusal.AUTH_VALUE
    other = SHA1 if auth.type is not AuthType.SHA1 else METICULOUS
    assert taken(Signer(other, 0), sent) is Refusal.AUTH_TYPE


def test_a_digest_covers_the_packet_with_the_key_in_its_place() -> None:
    sent = Signer(SHA1, 41).sign(PACKET)
    assert (len(sent), sent[3], sent[24:32].hex()) == (52, 52, "041c07000000002a")
    assert sent[32:] == hashlib.sha1(sent[:32] + b"key".ljust(20, b"\0")).digest()
    for place in range(32):
        forged = bytearray(sent)
        forged[place] ^= 1
        try:
            refused = taken(Signer(SHA1, 0), bytes(forged))
        except PacketError:
            continue
        assert refused is not None, f"a change of byte {place} went unnoticed"


def test_numbers_must_lie_in_the_window_and_are_forgotten_after_silence() -> None:
    for auth, same in ((SHA1, None), (METICULOUS, Refusal.AUTH_SEQUENCE)):
        receiver, far = Signer(auth, 0), Signer(auth, 2**32 - 3)
        packets = [far.sign(replace(PACKET, desired_tx=n)) for n in range(30)]  # the numbers go round the circle
        assert taken(receiver, packets[1]) is None
        assert taken(receiver, packets[4]) is None
        assert taken(receiver, packets[4]) is same
        assert taken(receiver, packets[3]) is Refusal.AUTH_SEQUENCE
        assert taken(receiver, packets[14]) is Refusal.AUTH_SEQUENCE
        assert taken(receiver, packets[13]) is None
        assert taken(receiver, packets[0], now=1.05) is Refusal.AUTH_SEQUENCE
        assert taken(receiver, packets[0], now=1.06) is None


def test_meticulous_numbers_grow_with_each_packet_and_others_with_each_content() -> None:
    def numbers(auth: BfdAuth) -> list[int]:
        signer = Signer(auth, 9)
        sent = [signer.sign(packet) for packet in (PACKET, PACKET, replace(PACKET, poll=True))]
        return [section.sequence for data in sent if (section := decode(data).auth)]

    assert numbers(METICULOUS) == [10, 11, 12]
    assert numbers(SHA1) == [10, 10, 11]


def test_a_secret_is_in_no_repr() -> None:
    assert "open" not in repr(PASSWORD)
