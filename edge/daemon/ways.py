"""Keeps packets and checks off the routers that have fallen silent (`edge.policy.uplinks`)."""

from bgp.speaker import Speaker
from edge.announcer.companions import Companions
from edge.daemon.checking import Checking
from edge.datapath.neighbours import Neighbours
from edge.log.events import EventLog
from edge.policy.uplinks import Heard, Uplinks


class Ways:
    """Looks at the sessions at each turn, and tells those who send."""

    def __init__(
        self, events: EventLog, speaker: Speaker, companions: Companions, neighbours: Neighbours, checking: Checking
    ) -> None:
        self._events, self._speaker, self._companions = events, speaker, companions
        self._neighbours, self._checking = neighbours, checking
        self._uplinks = Uplinks()
        self._silent: frozenset[str] = frozenset()

    def look(self) -> None:
        """Tell next hops and checks what is silent just now."""
        bfd, peers = self._companions.up(), self._speaker.peers()
        silent = self._uplinks.silent({peer.name: Heard(peer.up, bfd.get(peer.name)) for peer in peers})
        if silent != self._silent:
            before, after = (", ".join(sorted(names)) or "none" for names in (self._silent, silent))
            self._silent = silent
            why = "nothing is sent by them while another way is left" if silent else "all ways are used again"
            self._events.record("silent routers", before, after, why)
        self._neighbours.avoid(peer.address for peer in peers if peer.name in silent)
        self._checking.keep_to(self._neighbours.only)
