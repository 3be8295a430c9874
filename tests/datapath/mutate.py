"""Mutants of frames: byte surgery where the parsers look, repeatable from a seed."""

import random
import struct
from collections.abc import Iterator, Sequence

from edge.datapath.headers import checksum
from tests.datapath import world as w

# Where a random byte finds a branch: MACs, ethertype, every field of the header, ports, ICMP, the quoted packet.
INTERESTING = (0, 5, 6, 11, 12, 13, *range(14, 38), *range(42, 66), *range(70, 90))
WORDS = (0, 1, 19, 20, 21, 28, 39, 40, 576, 1476, 1477, 1480, 1481, 0x2000, 0x4000, 0x8000, 0x0800, 0x86DD, 0xFFFF)
BYTES = (0, 1, 4, 5, 6, 17, 40, 41, 47, 0x44, 0x45, 0x46, 0x4F, 0x60, 0x7F, 0x80, 0xA9, 0xE0, 0xF0, 0xFF)
ADDRESSES = tuple(bytes(map(int, a.split("."))) for a in (w.WEB, w.ECHO, w.ANY, w.EDGE, w.OWN, w.CLIENT, w.FREE))
ADDRESS_PLACES = (26, 30, 54, 58, 50, 74)


class Mutator:
    """Changes a frame in place, by draws from one seed."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.changes = (self.byte, self.byte, self.word, self.bit, self.address, self.cut, self.tail)

    def byte(self, frame: bytearray) -> None:
        """Put a telling or any byte at a telling place."""
        value = self.draw.choice(BYTES) if self.draw.random() < 0.7 else self.draw.randrange(256)
        frame[self.draw.choice(INTERESTING) % len(frame)] = value

    def word(self, frame: bytearray) -> None:
        """Put a telling word at a telling place."""
        at = self.draw.choice(INTERESTING) & ~1
        if at + 2 <= len(frame):
            struct.pack_into("!H", frame, at, self.draw.choice(WORDS))

    def bit(self, frame: bytearray) -> None:
        """Flip one bit anywhere."""
        frame[self.draw.randrange(len(frame))] ^= 1 << self.draw.randrange(8)

    def address(self, frame: bytearray) -> None:
        """Put an address that means something where addresses are."""
        at = self.draw.choice(ADDRESS_PLACES)
        if at + 4 <= len(frame):
            frame[at : at + 4] = self.draw.choice(ADDRESSES)

    def cut(self, frame: bytearray) -> None:
        """End the frame anywhere behind its Ethernet header."""
        del frame[max(14, self.draw.randrange(len(frame) + 1)) :]

    def tail(self, frame: bytearray) -> None:
        """Append zeros."""
        frame += bytes(self.draw.randrange(1, 60))


def mutants(given: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Frames with one to three changes; most with the IPv4 header checksum set right again."""
    mutator = Mutator(seed)
    draw = mutator.draw
    for _ in range(count):
        frame = bytearray(draw.choice(given))
        for _ in range(draw.randrange(1, 4)):
            draw.choice(mutator.changes)(frame)
        yield with_sum(bytes(frame)) if draw.random() < 0.6 else bytes(frame)


def with_sum(frame: bytes) -> bytes:
    """The header checksum set right without Scapy, which would take most of the time."""
    if len(frame) < 34 or frame[14] & 15 != 5:
        return frame
    number = checksum(frame[14:24] + b"\0\0" + frame[26:34])
    return frame[:24] + number.to_bytes(2, "big") + frame[26:]
