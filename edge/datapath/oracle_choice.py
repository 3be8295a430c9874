"""The oracle's part on services: which one a packet is for, and which backend has the flow (core: no I/O)."""

from edge.datapath.abi import Note
from edge.datapath.addresses import network_of
from edge.datapath.hashing import FlowKey, flow_hash, slot_of
from edge.datapath.model import ForwarderState, IpNetwork, Service
from edge.datapath.oracle_quic import server_id
from edge.datapath.outcome import Choice


class Choices:
    """Services, lookup_tables and QUIC server ids of one state."""

    def __init__(self, state: ForwarderState) -> None:
        self._state = state
        self._services = {(network_of(s.vip), int(s.protocol), s.port): s for s in state.services}
        self._servers = {s.pool: self._members(s.pool) for s in state.services if s.quic}

    def find(self, vip: IpNetwork, protocol: int, port: int) -> Service | None:
        """The service of a VIP, IP protocol number and port; one on port 0 takes what no other does."""
        return self._services.get((vip, protocol, port)) or self._services.get((vip, protocol, 0))

    def choose(self, key: FlowKey, service: Service) -> Choice:
        """The slot and the backend of a flow of this service; needs no packet."""
        if service.port == 0:
            key = FlowKey(key.client, key.client_port, 0, key.protocol)
        key = key.reduced(service.hashing)
        number = flow_hash(key, self._state.seed)
        slot = slot_of(number, self._state.table_size)
        slots = self._state.pools[service.pool].slots
        return Choice(service.id, key, number, slot, slots[slot] if slots else 0)

    def by_connection_id(self, payload: bytes, service: Service, choice: Choice) -> tuple[Choice, Note | None]:
        """What the connection id in a datagram to a QUIC service makes of the hash's choice, and what is noted."""
        quic = self._state.quic
        named = server_id(payload, quic.length)
        if named is None:
            return choice, None
        backend = self._servers[service.pool].get(named.server)
        if named.config != quic.config_id or backend is None:
            return choice, Note.CID_UNKNOWN
        return Choice(choice.service, choice.key, choice.hash, choice.slot, backend), Note.CID_ROUTED

    def _members(self, pool: int) -> dict[int, int]:
        """Backend ids of a pool by QUIC server id."""
        slots = set(self._state.pools[pool].slots)
        return {b.server_id: b.id for b in self._state.backends if b.server_id is not None and b.id in slots}
