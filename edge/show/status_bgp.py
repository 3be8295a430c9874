"""What a node says of its announcements, as plain facts: peers with their state, and each prefix at each peer."""

from collections.abc import Mapping
from typing import Any

from bgp.bmp.readback import ReadBack, RouterReport
from bgp.report import PeerStatus, PrefixStatus, SpeakerState, word
from bgp.rib import UNKNOWN
from bgp.route import to_plain
from edge.datapath.model import IpNetwork
from edge.policy.announce import Decision, Stance

Decisions = Mapping[IpNetwork, Decision]
Bfd = Mapping[str, Mapping[str, Any]]
"""BFD's state by the peer's name; `state` is the only key that is needed."""


def bgp_facts(
    decisions: Decisions, speaker: SpeakerState, now: float, bfd: Bfd, read_back: ReadBack | None
) -> dict[str, Any]:
    """Everything `fairhop bgp` shows; ages are in seconds, and what nobody can tell is null."""
    intended = {prefix for prefix, decision in decisions.items() if decision.stance is not Stance.WITHDRAWN}
    sent = {prefix for prefix, status in speaker.prefixes.items() if status.acked not in (None, UNKNOWN)}
    peers = []
    for peer in speaker.peers:
        router = read_back.of_peer(peer.address) if read_back else None
        counts = {"intended": len(intended), "announced": len(sent) if peer.up else 0}
        accepted = len(router.accepted & intended) if router and router.known else None
        peers.append(
            _peer(peer, now)
            | counts
            | {"accepted": accepted, "bfd": _bfd(bfd.get(peer.name)), "read_back": _router(router, now)}
        )
    return {
        "phase": speaker.phase.value,
        "reason": speaker.reason,
        "restarts": speaker.deaths,
        "converged": speaker.converged,
        "peers": peers,
        "prefixes": [
            _prefix(prefix, decision, speaker.prefixes.get(prefix), now, read_back)
            for prefix, decision in decisions.items()
        ],
        "findings": [
            {
                "fault": finding.fault.name.lower(),
                "text": finding.fault.value,
                "router": finding.router,
                "prefix": str(finding.prefix),
                "for": round(now - finding.since, 3),
                "detail": finding.detail,
            }
            for finding in (read_back.findings if read_back else ())
        ],
    }


def accepted_by(prefix: IpNetwork, read_back: ReadBack | None) -> dict[str, int] | None:
    """By how many of the routers that can tell a prefix was accepted; null where none can."""
    told = [answer for answer in read_back.accepted(prefix).values() if answer is not None] if read_back else []
    return {"by": sum(told), "of": len(told)} if told else None


def _peer(peer: PeerStatus, now: float) -> dict[str, Any]:
    return {
        "name": peer.name,
        "address": str(peer.address),
        "asn": peer.asn,
        "up": peer.up,
        "state": "Established" if peer.up else "Down",
        "since": round(now - peer.since, 3),
        "reason": peer.reason,
    }


def _bfd(session: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if session is None else dict(session)


def _router(router: RouterReport | None, now: float) -> dict[str, Any] | None:
    if router is None:
        return None
    refused = sorted(map(str, router.refused))
    return {
        "known": router.known,
        "since": round(now - router.since, 3),
        "reason": router.reason,
        "refused": refused,
    }


def _prefix(
    prefix: IpNetwork, decision: Decision, status: PrefixStatus | None, now: float, read_back: ReadBack | None
) -> dict[str, Any]:
    wanted = status.wanted if status else None
    others = read_back.others(prefix) if read_back else None
    return {
        "prefix": str(prefix),
        "stance": decision.stance.value,
        "reason": decision.reason.value,
        "until": decision.left(now),
        "attributes": to_plain(wanted) if wanted else None,
        "wanted": word(wanted),
        "sent": word(status.sent if status else UNKNOWN),
        "acked": word(status.acked if status else UNKNOWN),
        "refusals": status.refusals if status else 0,
        "accepted": read_back.accepted(prefix) if read_back else {},
        "other_announcers": others._asdict() if others else None,
    }
