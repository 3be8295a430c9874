"""One router's adj-rib-in as it tells it over one BMP session, cut down to the prefixes that we care about.

What is kept is bounded by our own prefixes and `PEERS_MAX`, never by what the router has: a full table costs time only.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from bgp.bmp.cursor import BmpError
from bgp.bmp.packet import Initiation, Message, Peer, PeerDown, PeerUp, RouteMonitoring, Termination
from bgp.bmp.update import Family, Path, parse_update
from bgp.digest import carried
from bgp.route import GRACEFUL_SHUTDOWN, Address, Prefix

PEERS_MAX: Final = 1024
PATHS_MAX: Final = 16
"""Paths of one prefix from one peer (path ids)."""

Table = dict[Prefix, dict[int, Path]]


@dataclass(slots=True)
class _PeerTables:
    """One peer of the router. `up` is false after a Peer Down, when nothing of it counts any more."""

    asn: int
    bgp_id: str
    router_asn: int = 0
    add_path: frozenset[Family] = frozenset()
    up: bool = True
    before: Table = field(default_factory=dict)
    after: Table = field(default_factory=dict)
    ended: set[tuple[Family, bool]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class OurRoute:
    """What the router holds of one prefix from us, before and after its policy; None where it holds nothing."""

    before: Path | None
    after: Path | None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a session told so far. `session`: the router's BGP session with us, None if it has told of none.

    `others` are announcers besides us, whether they are leaving; `foreign` origins that nobody expects. `digests` are
    what nodes among the others carry (`bgp.digest`), None for one that carries none. `complete`
    says that the router has sent an End-of-RIB for our session: nothing is on its way any more. `description` is how
    the router calls itself.
    """

    session: bool | None = None
    complete: bool = False
    ours: Mapping[Prefix, OurRoute] = field(default_factory=dict)
    others: Mapping[Prefix, Mapping[str, bool]] = field(default_factory=dict)
    foreign: Mapping[Prefix, frozenset[int]] = field(default_factory=dict)
    digests: Mapping[Prefix, Mapping[str, int | None]] = field(default_factory=dict)
    peers: int = 0
    updates: int = 0
    description: str = ""


class RouterView:
    """Fed with the messages of one BMP session, in order.

    `prefixes` are ours, `addresses` the ones from which this router hears us, `asn` our AS, `origins` the ASs (with
    ours) that may announce our prefixes. `pre_only`: it tells nothing of what is left after its policy.
    """

    def __init__(
        self,
        prefixes: Collection[Prefix],
        addresses: Collection[Address],
        asn: int,
        origins: Collection[int] = (),
        *,
        pre_only: bool = False,
    ) -> None:
        self._pre_only = pre_only
        self._prefixes = frozenset(prefixes)
        self._addresses = frozenset(addresses)
        self._asn = asn
        self._origins = frozenset(origins) | {asn}
        self._peers: dict[tuple[Address, int], _PeerTables] = {}
        self._updates = 0
        self._description = ""
        self.ended = ""
        """Why the router ended the session, if it did."""

    def take(self, message: Message) -> bool:
        """Take one message; True if what `facts` says may have changed. Raises BmpError."""
        if isinstance(message, PeerUp) and message.peer.inbound:
            self._peer(message.peer)
            self._peers[message.peer.key] = _PeerTables(
                message.peer.asn, str(message.peer.bgp_id), message.router_asn, message.add_path
            )
            return True
        if isinstance(message, PeerDown) and message.peer.inbound:
            tables = self._peer(message.peer)
            self._peers[message.peer.key] = _PeerTables(tables.asn, tables.bgp_id, up=False)
            return True
        if isinstance(message, RouteMonitoring) and message.peer.inbound:
            return self._update(message)
        if isinstance(message, Initiation):
            self._description = message.description
        if isinstance(message, Termination):
            self.ended = message.reason or "the router ended it"
        return False

    def _peer(self, peer: Peer) -> _PeerTables:
        tables = self._peers.get(peer.key)
        if tables is None:
            if len(self._peers) >= PEERS_MAX:
                raise BmpError(f"more than {PEERS_MAX} peers")
            tables = self._peers[peer.key] = _PeerTables(peer.asn, str(peer.bgp_id))
        return tables

    def _update(self, message: RouteMonitoring) -> bool:
        peer, tables = message.peer, self._peer(message.peer)
        update = parse_update(message.update, peer.as_size, tables.add_path)
        self._updates += 1
        table = tables.after if peer.post else tables.before
        path = _as_received(update.path, tables.router_asn)
        changed = update.end_of_rib is not None
        if update.end_of_rib is not None and len(tables.ended) < 16:
            tables.ended.add((update.end_of_rib, peer.post))
        for prefix, path_id in update.withdrawn:
            if prefix in table and table[prefix].pop(path_id, None) is not None:
                changed = True
                if not table[prefix]:
                    del table[prefix]
                    # What was not received was not accepted; GoBGP (3.10) does not always say so.
                    tables.after.pop(prefix, None)
        for prefix, path_id in update.announced:
            if prefix in self._prefixes:
                paths = table.setdefault(prefix, {})
                if len(paths) < PATHS_MAX or path_id in paths:
                    paths[path_id] = path
                changed = True
        return changed

    def facts(self) -> Facts:
        """What the router holds just now."""
        sessions = [tables for (address, _), tables in self._peers.items() if address in self._addresses]
        live = [tables for tables in sessions if tables.up]
        others: dict[Prefix, dict[str, bool]] = {}
        foreign: dict[Prefix, set[int]] = {}
        digests: dict[Prefix, dict[str, int | None]] = {}
        for (address, _), tables in self._peers.items():
            if tables.up and address not in self._addresses:
                self._sort_out(tables, others, foreign)
                self._read_digests(tables, others, digests)
        return Facts(
            session=bool(live) if sessions else None,
            complete=any(tables.ended for tables in live),
            ours=dict(self._ours(live)),
            others=others,
            foreign={prefix: frozenset(origins) for prefix, origins in foreign.items()},
            digests=digests,
            peers=len(self._peers),
            updates=self._updates,
            description=self._description,
        )

    def _ours(self, live: list[_PeerTables]) -> Iterator[tuple[Prefix, OurRoute]]:
        for prefix in self._prefixes:
            before = next((_one(tables.before[prefix]) for tables in live if prefix in tables.before), None)
            after = next((_one(tables.after[prefix]) for tables in live if prefix in tables.after), None)
            if before or after:
                yield prefix, OurRoute(before, after)

    def _sort_out(
        self, tables: _PeerTables, others: dict[Prefix, dict[str, bool]], foreign: dict[Prefix, set[int]]
    ) -> None:
        """Name who announces our prefixes through one peer: a node itself, a farther AS, or somebody unexpected.

        A path of our own AS that comes over another router may be our own announcement, back again: it proves nobody.
        An empty path (iBGP) proves nobody either.
        """
        for prefix, paths in (tables.before if self._pre_only else tables.after).items():
            for path in paths.values():
                origin = path.origin_as or tables.asn
                if not path.as_path and origin in self._origins:
                    continue
                leaving = GRACEFUL_SHUTDOWN in path.communities
                if origin not in self._origins:
                    foreign.setdefault(prefix, set()).add(origin)
                    continue
                direct = set(path.as_path) == {tables.asn}
                if direct or origin != self._asn:
                    name = f"node {tables.bgp_id}" if direct else f"AS {origin}"
                    known = others.setdefault(prefix, {})
                    known[name] = known.get(name, False) or leaving

    def _read_digests(
        self,
        tables: _PeerTables,
        others: Mapping[Prefix, Mapping[str, bool]],
        digests: dict[Prefix, dict[str, int | None]],
    ) -> None:
        """What a node that counts as another carries, in its routes as they were received. Two words of it are none."""
        name = f"node {tables.bgp_id}"
        for prefix, known in others.items():
            paths = tables.before.get(prefix) or tables.after.get(prefix)
            if name in known and paths:
                told = carried(tables.asn, _one(paths).large_communities)
                before = digests.setdefault(prefix, {})
                before[name] = told if before.get(name, told) == told else None


def _one(paths: Mapping[int, Path]) -> Path:
    return next(iter(paths.values()))


def _as_received(path: Path, router_asn: int) -> Path:
    """FRR (8.4) passes a path on with its own AS in front, as if it announced it."""
    if router_asn and path.as_path[:1] == (router_asn,):
        return replace(path, as_path=path.as_path[1:])
    return path
