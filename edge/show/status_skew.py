"""What a node says of its configuration beside those of the other nodes behind its routers, as plain facts."""

from typing import Any

from bgp.bmp.readback import ReadBack
from edge.config.digest import digests
from edge.decide.node import Node
from edge.policy.skew import Skew, Vote


def skew_facts(node: Node, read_back: ReadBack | None) -> dict[str, Any]:
    """How this node's configuration stands to those of the others behind its routers."""
    skews, own = node.skews, digests(node.config)
    worst = skews.worst or Vote(Skew.UNKNOWN, 0)
    if worst.differs:
        reason = skews.reason or f"{worst}; an alarm when it lasts for {skews.rules.after:g} s"
    elif worst.skew is Skew.AGREED:
        reason = f"no majority of {worst.others} other node(s) carries anything else"
    else:
        reason = _untold(read_back, worst.others)
    return {
        "state": worst.skew.name.lower(),
        "alarm": bool(skews.alarms),
        "reason": reason,
        "vips": {
            str(prefix): {
                "digest": f"{own[prefix]:08x}",
                "state": vote.skew.name.lower(),
                "other": None if vote.other is None else f"{vote.other:08x}",
                "against": vote.against,
                "others": vote.others,
                "alarm": prefix in skews.alarms,
            }
            for prefix, vote in skews.votes.items()
        },
    }


def _untold(read_back: ReadBack | None, others: int) -> str:
    if read_back is None:
        return "no router is read back (announcer.read_back)"
    if not any(router.known for router in read_back.routers):
        return "no router can be read back just now"
    if others:
        return f"{others} other node(s) carry no digest, or routers do not show it"
    return "routers tell of no other node's configuration"
