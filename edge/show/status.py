"""What a node says of itself, as plain facts: one verdict, then VIPs, pools, forwarder, peers, intent, events."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bgp.bmp.readback import ReadBack
from bgp.report import PeerStatus, SpeakerState
from edge.announcer.attributes import route_for
from edge.config.digest import digest_for
from edge.datapath.addresses import network_of
from edge.datapath.blocklist import BlockList
from edge.datapath.model import Counters, IpAddress, IpNetwork
from edge.datapath.next_hop import Finding
from edge.decide.node import Node
from edge.maglev import LookupTable, imbalance
from edge.policy.announce import Decision, Stance
from edge.policy.health import Health
from edge.policy.panic import Phase
from edge.show.status_bgp import accepted_by
from edge.show.status_skew import skew_facts

SCHEMA_VERSION = 1
_MOST_HIT = 10  # prefixes of the block list


@dataclass(frozen=True, slots=True)
class ForwarderView:
    """The forwarder as status shows it. `modes` maps interface -> native, generic or why it is not attached.

    `remarks` says why an interface is generic where native was tried.
    `findings` says of each backend's address how it is reached, or why it is not yet. `hits` are packets by the number
    of a prefix in the block list `blocked`.
    """

    modes: Mapping[str, str]
    tables: Mapping[str, LookupTable]
    generation: int
    current: bool
    counters: Counters
    findings: Mapping[IpAddress, Finding] = field(default_factory=dict)
    blocked: BlockList | None = None
    hits: Mapping[int, int] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)


def facts(
    node: Node,
    forwarder: ForwarderView,
    speaker: SpeakerState,
    events: Sequence[Mapping[str, Any]],
    now: float,
    read_back: ReadBack | None = None,
) -> dict[str, Any]:
    """Everything `fairhop status` shows; ages are in seconds."""
    decisions = node.decisions(now)
    pools = {name: _pool(node, name, forwarder, now) for name in node.config.pools}
    return {
        "schema_version": SCHEMA_VERSION,
        "node": node.config.node,
        "verdict": verdict(decisions, node.fault, node.skews.reason),
        "vips": [
            {
                "prefix": str(prefix),
                "stance": decision.stance.value,
                "reason": decision.reason.value,
                "until": decision.left(now),
                "acked": _acked(node, prefix, decision, speaker),
                "accepted": accepted_by(prefix, read_back),
                **_behind(node, prefix, pools),
            }
            for prefix, decision in decisions.items()
        ],
        "pools": list(pools.values()),
        "forwarder": {
            "modes": dict(forwarder.modes),
            "remarks": dict(forwarder.remarks),
            "generation": forwarder.generation,
            "current": forwarder.current,
            "fault": node.fault,
            "waiting": _waiting(node, forwarder.findings),
            "block_list": _block_list(forwarder.blocked, forwarder.hits),
            **_counters(forwarder.counters),
        },
        "announcer": {
            "phase": speaker.phase.value,
            "reason": speaker.reason,
            "restarts": speaker.deaths,
            "peers": [_peer(peer, now) for peer in speaker.peers],
        },
        "skew": skew_facts(node, read_back),
        "intent": asdict(node.intent),
        "events": list(events),
    }


def verdict(decisions: Mapping[IpNetwork, Decision], fault: str, skew: str = "") -> str:
    """One line: SERVING, DEGRADED (why), DRAINING, DRAINED or NOT SERVING (why)."""
    stances = {decision.stance for decision in decisions.values()}
    reasons = sorted({each.reason.value for each in decisions.values() if each.stance is not Stance.ANNOUNCED})
    if stances == {Stance.ANNOUNCED} and skew:
        return f"DEGRADED (skew: {skew})"
    if stances == {Stance.ANNOUNCED}:
        return "SERVING"
    if all("drained" in reason for reason in reasons) and len(stances) == 1:
        return "DRAINED" if stances == {Stance.WITHDRAWN} else "DRAINING"
    words = "; ".join([*reasons, *([fault] if fault else []), *([f"skew: {skew}"] if skew else [])])
    return f"NOT SERVING ({words})" if stances == {Stance.WITHDRAWN} else f"DEGRADED ({words})"


def _acked(node: Node, prefix: IpNetwork, decision: Decision, speaker: SpeakerState) -> bool:
    """Whether ExaBGP holds what was decided just now."""
    sent = speaker.prefixes.get(prefix)
    wanted = route_for(node.config.announcer, prefix, decision.stance, digest_for(node.config, prefix))
    return sent is not None and sent.applied and sent.wanted == wanted


def _behind(node: Node, prefix: IpNetwork, pools: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What stands behind a prefix: backends of all its services' pools, the healthy ones, and whether any panics."""
    names = {s.pool for s in node.config.services if prefix in map(network_of, s.vips)}
    concerned = [pools[name] for name in sorted(names)]
    return {
        "healthy": sum(pool["healthy"] for pool in concerned),
        "backends": sum(len(pool["backends"]) for pool in concerned),
        "panic": any(pool["panic"] for pool in concerned),
    }


def _block_list(blocked: BlockList | None, hits: Mapping[int, int]) -> dict[str, Any] | None:
    if blocked is None:
        return None
    count = blocked.count4 + blocked.count6
    met = {number: packets for number, packets in hits.items() if number < count}  # others are of a list before it
    most = sorted(met, key=lambda number: (-met[number], number))[:_MOST_HIT]
    return {
        "prefixes": count,
        "dry_run": blocked.dry_run,
        "digest": blocked.digest,
        "hits": sum(met.values()),
        "most_hit": {str(blocked.prefix(number)): met[number] for number in most},
    }


def _waiting(node: Node, findings: Mapping[IpAddress, Finding]) -> dict[str, str]:
    """The backends without a next hop, and why: what the table gives them is dropped, as `neigh`."""
    known = [backend for pool in node.config.pools.values() for backend in pool.backends]
    found = {backend.name: _finding(backend.address, findings) for backend in known}
    return {name: finding.value for name, finding in found.items() if not finding.has_next_hop}


def _finding(address: IpAddress, findings: Mapping[IpAddress, Finding]) -> Finding:
    return findings.get(address, Finding.UNRESOLVED)


def _pool(node: Node, name: str, forwarder: ForwarderView, now: float) -> dict[str, Any]:
    table = forwarder.tables.get(name)
    shares = table.shares() if table else {}
    view = node.view(name)
    backends = []
    for backend in node.config.pools[name].backends:
        health = node.health[name, backend.name]
        backends.append(
            {
                "name": backend.name,
                "address": str(backend.address),
                "weight": backend.weight,
                "slots": shares.get(str(backend.address), 0),
                "drained": backend.name in view.drained,
                "next_hop": _finding(backend.address, forwarder.findings).value,
                **_health(health, now),
            }
        )
    return {
        "name": name,
        "digest": table.digest if table else None,
        "imbalance": round(imbalance(table), 4) if table else None,
        "panic": node.selections()[name].panic,
        "leaving_panic": node.panics[name] is Phase.LEAVING,
        "healthy": sum(backend["state"] == "up" for backend in backends),
        "backends": backends,
    }


def _health(health: Health, now: float) -> dict[str, Any]:
    last = health.last
    return {
        "state": health.state.value,
        "since": round(now - health.since, 3),
        "last": last.detail if last else None,
        "latency": round(last.latency, 6) if last else None,
    }


def _counters(counters: Counters) -> dict[str, Any]:
    nonzero = {reason: count for reason, count in counters.drops.items() if count}
    notes = {note: count for note, count in counters.notes.items() if count}
    return {"rx": counters.rx, "tx": counters.tx, "passed": counters.passed, "drops": nonzero, "notes": notes}


def _peer(peer: PeerStatus, now: float) -> dict[str, Any]:
    return {
        "name": peer.name,
        "address": str(peer.address),
        "asn": peer.asn,
        "up": peer.up,
        "since": round(now - peer.since, 3),
        "reason": peer.reason,
    }
