"""A router that runs its kit between an honest edge e1, a hostile one e2 and an outsider; what must never break."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_network
from types import ModuleType

from bgp.kits import bird, frr, gobgp
from bgp.kits.model import KitInput, Options, Session
from bgp.route import Prefix
from tests.bgp.kits.speaker import EdgeSpeaker
from tests.bgp.routers.bird import Bird
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.gobgp import Gobgp
from tests.bgp.routers.net import Leaf, Star, command, needs, run_in, star
from tests.bgp.routers.router import Router, eventually, running

MAKES: dict[str, tuple[type[Router], ModuleType]] = {"frr": (Frr, frr), "bird": (Bird, bird), "gobgp": (Gobgp, gobgp)}
ASN = 65101
SHARED, OF_E1, OF_E2 = "203.0.113.10/32", "203.0.113.11/32", "203.0.113.12/32"
SHARED6, OF_E1_6 = "2001:db8:1::10/128", "2001:db8:1::11/128"
KEYS = {"e1": "first-key", "e2": "second-key"}
ASNS = {"e1": 65110, "e2": 65120}
VIPS = {"e1": (SHARED, OF_E1, SHARED6, OF_E1_6), "e2": (SHARED, OF_E2, SHARED6)}


PLAIN = Options()


def networks(prefixes: tuple[str, ...]) -> tuple[Prefix, ...]:
    return tuple(map(ip_network, prefixes))


def kit(net: Star, options: Options, weights: dict[str, int], **of_all: object) -> KitInput:
    """The kit of the star's router; `of_all` changes both sessions."""
    sessions = [
        Session(
            name, net.leaves[name].address, net.leaves[name].router, ASNS[name], networks(VIPS[name]),
            next_hop6=net.leaves[name].address6, has_md5=True, md5=KEYS[name], weight=weights.get(name),
        )
        for name in ("e1", "e2")
    ]  # fmt: skip
    changed = tuple(replace(session, **of_all) for session in sessions)  # type: ignore[arg-type]
    return KitInput("r1", ASN, changed, IPv4Address("10.77.1.0"), hold_time=3, options=options)


@dataclass
class Scene:
    """`honest` announces its VIPs at all times; `hostile` is e2's session."""

    make: str
    net: Star
    kit: KitInput
    router: Router
    honest: EdgeSpeaker
    hostile: EdgeSpeaker
    stack: ExitStack = field(repr=False)

    def leaf(self, name: str) -> Leaf:
        return self.net.leaves[name]

    def hop(self, name: str, prefix: str = SHARED) -> str:
        """The next hop in the kernel that means an edge."""
        leaf = self.leaf(name)
        return str(leaf.address6 if ":" in prefix else leaf.address)

    def hops(self, prefix: str) -> dict[str, int]:
        """Where the prefix goes, and with which weight: in the kernel, for GoBGP in its table."""
        if isinstance(self.router, Gobgp):
            return {str(next(a for a in path["attrs"] if a["type"] in (3, 14))["nexthop"]): 1
                    for path in self.router.paths(prefix)}  # fmt: skip
        return self.router.learned().get(prefix, {})

    def prefixes(self) -> set[str]:
        """Every prefix that BGP has brought in: into the kernel, for GoBGP into its table."""
        return self.router.table() if isinstance(self.router, Gobgp) else set(self.router.learned())

    def carries(self, edge: str, prefix: str) -> bool:
        """Whether the router's table has a path of this edge's to the prefix, chosen or not, whatever its next hop."""
        if isinstance(self.router, Bird):
            return f"[{edge} " in self.router.birdc(f"show route for {prefix}", check=False)
        return str(self.leaf(edge).address) in self.router.accepted(prefix)

    def becomes(self, prefix: str, *edges: str, within: float = 8.0) -> None:
        """Wait until exactly these edges carry the prefix."""
        wanted = {self.hop(edge, prefix) for edge in edges}
        eventually(
            lambda: set(self.hops(prefix)) == wanted,
            within,
            lambda: f"{self.make}: {prefix} goes to {self.hops(prefix)}, expected {wanted}",
        )

    def wrong(self) -> list[str]:
        """What is not as it has to be whatever e2 does; empty when all is well."""
        found = []
        if self.honest.closed.is_set() or self.router.session(str(self.leaf("e1").address)) != "Established":
            found.append("e1 lost its session")
        for prefix in VIPS["e1"]:
            if self.hop("e1", prefix) not in self.hops(prefix):
                found.append(f"{prefix} no longer goes to e1")
        for prefix in self.prefixes():
            holders = {self.hop(edge, prefix) for edge, vips in VIPS.items() if prefix in vips}
            if not holders:
                found.append(f"{prefix} came in")
            elif not set(self.hops(prefix)) <= holders:
                found.append(f"{prefix} goes to {self.hops(prefix)}")
        if not self.router.alive():
            found.append(f"the router died: {self.router.log}")
        return found

    def session(self, name: str, **how: object) -> EdgeSpeaker:
        """A new established session in an edge's place, closed at the end; a router may refuse some calls first."""
        guards = self.kit.sessions[0]
        settings: dict[str, object] = {"md5": KEYS[name] if guards.has_md5 else None, "least": 255 * guards.gtsm} | how
        end = time.monotonic() + 15
        while time.monotonic() < end:
            try:
                speaker = EdgeSpeaker(self.leaf(name), ASNS[name], **settings)  # type: ignore[arg-type]
            except OSError:  # it does not listen yet, or has not taken the key
                time.sleep(0.1)
                continue
            self.stack.callback(speaker.close)
            while not speaker.established(0.05) and not speaker.closed.is_set() and time.monotonic() < end:
                pass
            if speaker.established(0):
                return speaker
            speaker.close()
            time.sleep(0.1)
        raise AssertionError(f"{self.make}: no session with {name}: {self.router.log}")


def calm(scene: Scene) -> Scene:
    """Both edges speak, e1 with its VIPs, e2 with none."""
    if scene.hostile.closed.is_set():
        scene.hostile = scene.session("e2")
    scene.hostile.withdraw(*(scene.hostile.announced | set(VIPS["e2"])))
    scene.becomes(SHARED, "e1")
    scene.becomes(SHARED6, "e1")
    assert scene.wrong() == []
    return scene


@contextmanager
def playing(
    make: str, options: Options = PLAIN, weights: dict[str, int] | None = None, **of_all: object
) -> Iterator[Scene]:
    """The scene with the kit as rendered; the honest edge's VIPs are in."""
    needs(make)
    made, renderer = MAKES[make]
    with star("fh-kit", ["e1", "e2", "out"]) as net:
        for where in ("all", "default", "eth3"):  # an outsider's packet with e1's source must get to the socket
            run_in(net.netns, "sysctl", "-qw", f"net.ipv4.conf.{where}.rp_filter=0")
        described = kit(net, options, weights or {}, **of_all)
        if make == "frr" and frr.filtered(described):
            subprocess.run(command(net.netns, "nft", "-f", "-"), input=frr.nft(described), text=True, check=True)
        with running(made, net, renderer.render(described)) as router, ExitStack() as stack:
            scene = Scene(make, net, described, router, None, None, stack)  # type: ignore[arg-type]
            scene.honest, scene.hostile = scene.session("e1"), scene.session("e2")
            scene.honest.announce(*VIPS["e1"])
            for prefix in VIPS["e1"]:
                scene.becomes(prefix, "e1")
            yield scene
