"""Sends forged packets at a rate: `flood MARK syn|udp|ptb ADDRESS PORT RATE PREFIX NUMBER`.

`syn` and `udp` (NUMBER: bytes) have IPv4 sources of PREFIX; `ptb` comes from this node itself and quotes a segment
that ADDRESS would have sent from PORT to an address of PREFIX, too big for NUMBER bytes, in either family.

Prints the rate that it reached in its first half second, then goes on by itself until it is killed.
"""

import contextlib
import ipaddress
import os
import random
import socket
import struct
import sys
import time

from lab.faults.helpers import ptb
from lab.faults.helpers.background import go_on
from lab.faults.helpers.ptb import checksum

_RAW = (socket.SOCK_RAW, socket.IPPROTO_RAW)
_DISTINCT = 4096
_TRIAL = 0.5
_BATCH = 0.002  # s: how long it sleeps when it is ahead


def packets(kind: str, address: str, port: int, prefix: str, size: int) -> list[bytes]:
    """Whole IPv4 packets from random addresses of the prefix and random ports."""
    network = ipaddress.ip_network(prefix)
    target = ipaddress.ip_address(address).packed
    made = []
    for _ in range(_DISTINCT):
        source = network[random.randrange(network.num_addresses)].packed
        made.append(_packet(kind, source, target, random.randrange(1024, 65536), port, size))
    return made


def _packet(kind: str, source: bytes, target: bytes, source_port: int, port: int, size: int) -> bytes:
    if kind == "syn":
        protocol = 6
        body = struct.pack("!HHIIBBHHH", source_port, port, random.getrandbits(32), 0, 0x50, 2, 64240, 0, 0)
        at = 16
    else:
        protocol = 17
        body = struct.pack("!HHHH", source_port, port, 8 + size, 0) + bytes(size)
        at = 6
    pseudo = source + target + struct.pack("!BBH", 0, protocol, len(body))
    body = body[:at] + struct.pack("!H", checksum(pseudo + body) or 0xFFFF) + body[at + 2 :]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, protocol, 0)  # the kernel sums it
    return head + source + target + body


def main() -> None:
    """Send for a trial, say the rate, then in the background until killed."""
    kind, address, port, rate, prefix, number = sys.argv[2:8]
    if kind == "ptb":
        made = ptb.packets(address, int(port), prefix, int(number), _DISTINCT)
    else:
        made = packets(kind, address, int(port), prefix, int(number))
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, *_RAW) as out:
        out.connect((address, 0))
        sent = _send(out, made, int(rate), _TRIAL)
        os.write(1, f"{round(sent / _TRIAL)}\n".encode())
        go_on()
        _send(out, made, int(rate), float("inf"))


def _send(out: socket.socket, made: list[bytes], rate: int, seconds: float) -> int:
    began, sent = time.monotonic(), 0
    while (now := time.monotonic() - began) < seconds:
        due = int(now * rate)
        if due - sent > rate:
            sent = due  # it cannot keep up: a burst later would be no flood at that rate
        while sent < due:
            with contextlib.suppress(OSError):  # no buffer, or no route just now: that packet is lost
                out.send(made[sent % _DISTINCT])
            sent += 1
            if not sent % 256 and time.monotonic() - began >= seconds:
                return sent
        time.sleep(_BATCH)
    return sent


if __name__ == "__main__":
    main()
