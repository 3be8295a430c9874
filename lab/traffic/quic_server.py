"""A UDP server that hands out connection ids as QUIC-LB servers do: it shows whether edges route by them.

Run in a backend: `python3 -m lab.traffic.quic_server NAME PORT SERVER_ID SERVER_ID_LENGTH CONFIG_ID`.

The wire format, as much QUIC as an edge reads (RFC 8999; draft-ietf-quic-load-balancers 5.2, plaintext), integers
big-endian:
  first datagrams of a client   0xC0, version 0xFA1C0001 (4 octets), 8, DCID (8 octets that the client drew), 0, payload
  all later ones                0x40, the connection id that the server gave (8 octets), payload
  every answer                  ASCII `NAME CID payload`: the backend, 16 hexadecimal digits, the payload as it came
The id: one octet `CONFIG_ID << 5 | 7` (the low bits: how many octets follow), the server id in SERVER_ID_LENGTH octets,
then octets of the server's own, here from a digest of the client's DCID. So a repeated first datagram gets the same id,
and the server keeps no state. In an answer to a later datagram the id is the one it came with, also if another server
gave it: the name then tells the client that its connection has moved. Anything else is not answered.
"""

import asyncio
import contextlib
import hashlib
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Final

from edge.backend.echo import reply_from, udp_socket

VERSION: Final = 0xFA1C0001
CID_LENGTH: Final = 8
_LONG = struct.Struct(">BIB8sB")  # flags, version, length of the DCID, DCID, length of the SCID
_SHORT: Final = 1 + CID_LENGTH
_FAMILIES = ("0.0.0.0", "::")
_DATAGRAM_BYTES = 1 << 16
_BATCH = 64  # datagrams answered in one go


@dataclass(frozen=True, slots=True)
class Responder:
    """What a server answers. `server_id` must fit `length` octets (1 to 3); `config_id` is 0 to 6."""

    name: str
    server_id: int
    length: int
    config_id: int

    def answer(self, data: bytes) -> bytes | None:
        """The answer to one datagram, None if it is none of ours."""
        if data[:1] == b"\x40" and len(data) >= _SHORT:
            return self._said(data[1:_SHORT], data[_SHORT:])
        if len(data) < _LONG.size:
            return None
        flags, version, dcid_length, dcid, scid_length = _LONG.unpack_from(data)
        if (flags, version, dcid_length, scid_length) != (0xC0, VERSION, CID_LENGTH, 0):
            return None
        return self._said(self.cid(dcid), data[_LONG.size :])

    def cid(self, dcid: bytes) -> bytes:
        """The connection id for a client that began with `dcid`."""
        head = bytes([self.config_id << 5 | CID_LENGTH - 1]) + self.server_id.to_bytes(self.length, "big")
        return head + hashlib.blake2b(dcid, digest_size=CID_LENGTH - len(head)).digest()

    def _said(self, cid: bytes, payload: bytes) -> bytes:
        return b" ".join((self.name.encode(), cid.hex().encode(), payload))


def first_datagram(dcid: bytes, payload: bytes) -> bytes:
    """What a client begins with; `dcid` has 8 octets."""
    return _LONG.pack(0xC0, VERSION, CID_LENGTH, dcid, 0) + payload


def later_datagram(cid: bytes, payload: bytes) -> bytes:
    """What a client sends once it has the server's id, of 8 octets."""
    return b"\x40" + cid + payload


def _answer_waiting(datagrams: socket.socket, responder: Responder) -> None:
    for _ in range(_BATCH):
        try:
            data, ancillary, _, client = datagrams.recvmsg(_DATAGRAM_BYTES, socket.CMSG_SPACE(64))
        except OSError:  # none waits, or an ICMP error of an earlier answer
            return
        answer = responder.answer(data)
        if answer is not None:
            with contextlib.suppress(OSError):  # the client is gone or the send buffer full
                datagrams.sendmsg([answer], reply_from(ancillary), 0, client)


async def serve(responder: Responder, port: int) -> None:
    """Answer on every address of both families until cancelled. Raises OSError when the port is taken."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        for host in _FAMILIES:
            datagrams = stack.enter_context(udp_socket(host, port))
            loop.add_reader(datagrams, _answer_waiting, datagrams, responder)
        await loop.create_future()


if __name__ == "__main__":
    name, *numbers = sys.argv[1:]
    port, server_id, length, config_id = map(int, numbers)
    asyncio.run(serve(Responder(name, server_id, length, config_id), port))
