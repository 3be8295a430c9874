"""Forged "packet too big": ICMP type 3 code 4 (RFC 1191) and ICMPv6 type 2 (RFC 8201), as a router would send them."""

import ipaddress
import random
import socket
import struct

_TCP, _ICMP, _ICMP6 = 6, 1, 58
_TOLD = 1500  # bytes that the quoted packet claims to have


def packets(address: str, port: int, prefix: str, mtu: int, count: int) -> list[bytes]:
    """Whole IP packets to `address` about its TCP flows with random addresses of the prefix and random ports."""
    network = ipaddress.ip_network(prefix)
    service, here = ipaddress.ip_address(address).packed, _source(address)
    made = []
    for _ in range(count):
        client = network[random.randrange(network.num_addresses)].packed
        ports = struct.pack(
            "!HHIIBBHHH", port, random.randrange(1024, 65536), random.getrandbits(32), 0, 80, 16, 500, 0, 0
        )
        make = _packet6 if ":" in address else _packet4
        made.append(make(here, service, client, ports, mtu))
    return made


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _packet4(here: bytes, service: bytes, client: bytes, segment: bytes, mtu: int) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, _TOLD, random.getrandbits(16), 0x4000, 60, _TCP, 0) + service + client
    quoted = head[:10] + struct.pack("!H", checksum(head)) + head[12:] + segment
    body = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    outer = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, _ICMP, 0)  # the kernel sums it
    return outer + here + service + body


def _packet6(here: bytes, service: bytes, client: bytes, segment: bytes, mtu: int) -> bytes:
    quoted = struct.pack("!IHBB", 6 << 28, _TOLD - 40, _TCP, 60) + service + client + segment
    body = struct.pack("!BBHI", 2, 0, 0, mtu) + quoted
    pseudo = here + service + struct.pack("!IxxxB", len(body), _ICMP6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), _ICMP6, 64) + here + service + body


def _source(address: str) -> bytes:
    """The address that this node would send from."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        asked.connect((address, 9))
        return ipaddress.ip_address(asked.getsockname()[0]).packed
