"""What is measured, each row with its event and its bound for each router (core: no I/O).

A bound is for the 99th percentile of all repetitions, in the row's unit. A row without a bound is a reference: it says
what the machine and the router cost by themselves, or what something else would give.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lab.announce.plan import Kind

Unit = Literal["ms", "lost", "changes", "updates", "share"]
_MARGIN = 50.0  # ms on top of a limit that a timer alone keeps: that of the router's own work


@dataclass(frozen=True, slots=True)
class Row:
    """`bounds` by router: the worst value that passes, or the least where `at_least`."""

    name: str
    event: str
    bounds: Mapping[Kind, float] = field(default_factory=dict)
    unit: Unit = "ms"
    at_least: bool = False
    kinds: tuple[Kind, ...] = ("frr", "bird")


def _both(bird: float, frr: float) -> dict[Kind, float]:
    return {"bird": bird, "frr": frr}


_LEASE = _both(3000.0, 3000.0)
_LIMIT = _both(1.5e3, 1.5e3)

ROWS: tuple[Row, ...] = (
    Row("floor-update", "floor: a prebuilt UPDATE withdraws one route, from a plain socket"),
    Row("floor-close", "floor: a plain socket with one route closes"),
    Row("floor-close-all", "floor: a plain socket with 1,000 routes closes"),
    Row("drain-vip", "drain: one VIP withdrawn", _both(5, 60), kinds=("frr", "bird", "gobgp")),
    Row("drain-node", "drain: a node of two VIPs withdrawn, settle 0"),
    Row("all-vips", "all VIPs of a node off: the node is drained, settle 0", _both(20, 95)),
    Row("all-vips-killed", "all VIPs of a node off: its ExaBGP is killed", _both(20, 95)),
    Row("process-dies", "a local process that is watched by a pidfd dies", _both(8, 75)),
    Row("detached", "the forwarder is detached from its interface", _both(8, 75)),
    Row("service-hangs", "a backend's service hangs: de-preferred, with the default check", _LIMIT),
    Row("local-service-hangs", "a local service hangs: withdrawn, with the default local check", _LIMIT),
    Row("exabgp-killed", "ExaBGP killed", _both(10, 80), kinds=("frr", "bird", "gobgp")),
    Row("relay-killed", "the relay killed: until the VIP is gone, or a new relay stands by it", _LEASE),
    Row("daemon-killed", "the daemon killed", _LEASE),
    Row("checker-killed", "a checker process killed: its VIP gone, or checked again", _LEASE),
    Row("checker-stopped", "the checker process stopped: its VIPs gone, or checked again", _LEASE),
    Row("exabgp-stopped", "ExaBGP stopped", _LEASE),
    Row("relay-stopped", "the relay stopped", _LEASE),
    Row("daemon-stopped", "the daemon stopped", _LEASE),
    Row("relay-babbles", "the relay babbles: answers that nobody asked for", _LEASE),
    Row("exabgp-babbled", "ExaBGP is told nonsense in the relay's name", _LEASE),
    Row("daemon-wedged-bfd", "the daemon stopped, with BFD 10 ms x 3", _both(100, 100)),
    Row("node-dead-hold", "silent node death without BFD, hold_time 3", _both(3000 + _MARGIN, 3000 + 2 * _MARGIN)),
    Row("node-dead-bfd", "silent node death, BFD 10 ms x 3", _both(35, 100)),
    Row("site-failover", "site failover at the transit router", _both(6, 115)),
    Row("planned-drain", "planned drain under 2,000 packets/s and 1,000 requests/s: packets and requests lost",
        _both(0, 0), "lost"),
    Row("upgrade", "the announcer upgraded, with graceful restart and BFD: changes of the FIB", _both(0, 0), "changes"),
    Row("alternating", "a checker alternates at 1 Hz: UPDATEs at the router", _both(2, 2), "updates"),
    Row("all-down", "every checker in every site says down: requests served", _both(0.99, 0.99), "share", True),
)  # fmt: skip
BY_NAME = {row.name: row for row in ROWS}
