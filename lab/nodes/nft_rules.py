"""nftables as a load balancer: rules that send each new flow to a backend by a hash (core: no I/O).

One jhash over the client's address and port, modulo the number of live backends, is what `docs/lab.md` compares fairhop
with. The flow's packets then follow conntrack. The source is masqueraded, since the answer has to come back to the edge
that knows the flow.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

TABLE: Final = "fairhop_lab"
SEED: Final = 0x5EED  # equal on all edges: a flow that moves meets the same backend, if not the same conntrack


@dataclass(frozen=True, slots=True)
class Check:
    """How a backend is asked: HTTP GET of `path` at its own IPv4 address. `interval` and `timeout` are seconds."""

    port: int
    path: str
    interval: float
    timeout: float
    rise: int
    fall: int


@dataclass(frozen=True, slots=True)
class Service:
    """One VIP and port."""

    vip: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Backend:
    """One backend, at its own address of each family."""

    name: str
    address: str
    address6: str


@dataclass(frozen=True, slots=True)
class Balance:
    """A whole balance.json."""

    check: Check
    services: tuple[Service, ...]
    backends: tuple[Backend, ...]


class Health:
    """Which backends live, by `rise` and `fall`; the first probe of each is believed at once."""

    def __init__(self, names: Collection[str], rise: int, fall: int) -> None:
        self._streak = dict.fromkeys(names, 0)
        self._up: dict[str, bool | None] = dict.fromkeys(names)
        self._rise, self._fall = rise, fall

    def saw(self, name: str, well: bool) -> bool:
        """Note a probe's result; whether the backend's state changed."""
        if well == self._up[name]:
            self._streak[name] = 0
            return False
        self._streak[name] += 1
        if self._up[name] is not None and self._streak[name] < (self._rise if well else self._fall):
            return False
        self._up[name], self._streak[name] = well, 0
        return True

    def living(self) -> frozenset[str]:
        """The names of those that live."""
        return frozenset(name for name, up in self._up.items() if up)


def parse(text: str) -> Balance:
    """Read a rendered balance.json. Raises ValueError, KeyError or TypeError for anything else."""
    document = json.loads(text)
    return Balance(
        Check(**document["check"]),
        tuple(Service(**one) for one in document["services"]),
        tuple(Backend(**one) for one in document["backends"]),
    )


def rules(balance: Balance, living: Collection[str]) -> str:
    """Input of `nft -f`, which takes it in one transaction; flows that conntrack knows stay where they are."""
    backends = [one for one in balance.backends if one.name in living]
    return "".join(_table(family, balance.services, backends) for family in ("ip", "ip6"))


def _table(family: str, services: Sequence[Service], backends: Sequence[Backend]) -> str:
    version6 = family == "ip6"
    mine = [one for one in services if (":" in one.vip) == version6]
    targets = [one.address6 if version6 else one.address for one in backends]
    chosen = ", ".join(f"{slot} : {address}" for slot, address in enumerate(targets))
    lines = [
        f"        {family} daddr {one.vip} {one.protocol} dport {one.port} dnat to jhash {family} saddr . "
        f"{one.protocol} sport mod {len(targets)} seed {SEED:#x} map {{ {chosen} }}\n"
        for one in mine
        if targets
    ]
    return f"""\
table {family} {TABLE}
delete table {family} {TABLE}
table {family} {TABLE} {{
    chain balance {{
        type nat hook prerouting priority dstnat; policy accept;
{"".join(lines)}    }}
    chain return_here {{
        type nat hook postrouting priority srcnat; policy accept;
        ct status dnat masquerade
    }}
}}
"""
