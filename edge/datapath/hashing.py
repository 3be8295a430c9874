"""The flow hash: which slot of a lookup_table a flow owns, the same number in C and here (core: no I/O).

MurmurHash3 x86_32 over the flow as its client sees it: client address (4 bytes, or 16 for IPv6; network order), client
port (2), vip port (2), both in network order, protocol (1), three zero bytes. The seed is the fleet's. An ICMP error
hashes the packet it quotes, reversed. A service on any port hashes vip port 0, so that a client port keeps its backend
on all of them; the hash modes put 0 in place of what they leave out.

`tests/datapath/flow_hash_vectors.json` ties `mmh3`, this module, the C code and the text above together.
"""

from dataclasses import dataclass

import mmh3

from edge.datapath.model import HashMode, IpAddress


@dataclass(frozen=True, slots=True)
class FlowKey:
    """A flow from the client's side; ports are numbers, `protocol` is the IP protocol number."""

    client: IpAddress
    client_port: int
    vip_port: int
    protocol: int

    def packed(self) -> bytes:
        """The bytes that are hashed: 12 for IPv4, 24 for IPv6."""
        ports = self.client_port.to_bytes(2, "big") + self.vip_port.to_bytes(2, "big")
        return self.client.packed + ports + bytes((self.protocol, 0, 0, 0))

    def reduced(self, mode: HashMode) -> "FlowKey":
        """What of the flow a service hashes."""
        if mode is HashMode.CLIENT:
            return FlowKey(self.client, 0, 0, 0)
        if mode is HashMode.CLIENT_PORT:
            return FlowKey(self.client, 0, self.vip_port, self.protocol)
        return self


def flow_hash(key: FlowKey, seed: int) -> int:
    """The unsigned 32-bit hash of a flow."""
    return mmh3.hash(key.packed(), seed, signed=False)


def slot_of(hash_value: int, table_size: int) -> int:
    """The slot 0..table_size-1 that a hash owns: fixed-point multiplication instead of a remainder."""
    return (hash_value * table_size) >> 32
