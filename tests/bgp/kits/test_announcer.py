"""Our own announcer against routers that run their kits: what a kit lets in is what an honest node says, all of it."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from bgp.kits.model import KitInput, Session
from tests.bgp.conftest import OTHER, VIP, VIP6, EdgeDaemon, announcer_user
from tests.bgp.kits.scene import MAKES, networks
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.gobgp import Gobgp
from tests.bgp.routers.net import Leaf, command, needs, run_in, star
from tests.bgp.routers.router import Router, eventually, running

pytestmark = pytest.mark.kernel

ASN, EDGE_ASN = 65101, 65110
KEY = "c4n-ary$!%"
KINDS = ["ipv4", "ipv6", "ipv6 with an IPv4 next hop", "passive"]


def described(kind: str, leaf: Leaf) -> tuple[Session, dict[str, Any]]:
    """Both sides of a session: the kit's, and the peer of the announcer's settings."""
    four = Session(
        "e1", leaf.address, leaf.router, EDGE_ASN, networks((VIP, OTHER, VIP6)), leaf.address6, has_md5=True, md5=KEY
    )
    peer = {"name": "r1", "address": str(leaf.router), "asn": ASN, "local_address": str(leaf.address)}
    six = replace(four, address=leaf.address6, router=leaf.router6, next_hop6=None, has_md5=False, md5=None)
    peer6 = peer | {"address": str(leaf.router6), "local_address": str(leaf.address6), "ttl_security": True}
    match kind:
        case "ipv4":
            return four, peer | {"local_address6": str(leaf.address6), "md5": KEY, "ttl_security": True}
        case "ipv6":
            return six, peer6
        case "passive":
            passive = replace(four, gtsm=False, edge_passive=True, port=1790, has_md5=False, md5=None)
            return passive, peer | {"local_address6": str(leaf.address6), "passive": True, "listen": 1790}
    return replace(six, next_hop4=leaf.address), peer6 | {"local_address4": str(leaf.address)}


@contextmanager
def announcing(make: str, kind: str) -> Iterator[tuple[Router, EdgeDaemon, Session, Path]]:
    made, renderer = MAKES[make]
    with star("fh-kit", ["e1"]) as net, tempfile.TemporaryDirectory(prefix="fh-kit-") as directory:
        leaf = net.leaves["e1"]
        session, peer = described(kind, leaf)
        kit = KitInput("r1", ASN, (session,), IPv4Address("10.77.1.0"), hold_time=3)
        Path(directory).chmod(0o755)
        with running(made, net, renderer.render(kit)) as router:
            daemon = EdgeDaemon(Path(directory) / "edge", announcer_user(), leaf.netns, {"peers": [peer]}).start()
            try:
                yield router, daemon, session, leaf.netns
            finally:
                with contextlib.suppress(BrokenPipeError):
                    daemon.order(stop=True)
                daemon.wait()


def hops(router: Router, prefix: str) -> set[str]:
    if not isinstance(router, Gobgp):
        return set(router.learned().get(prefix, {}))
    attributes = [one for path in router.paths(prefix) for one in path["attrs"]]
    return {str(one["nexthop"]) for one in attributes if one["type"] in (3, 14)}


def answers(router: Router, edge: Path, vip: str) -> None:
    """Packets from the router to the VIP get to the edge: it takes the address and answers a ping."""
    run_in(edge, "ip", "address", "replace", vip, "dev", "lo", *(["nodad"] if ":" in vip else []))
    ping = command(router.netns, "ping", "-c", "1", "-W", "1", vip.partition("/")[0])
    once = lambda: subprocess.run(ping, capture_output=True, check=False, timeout=10).returncode == 0  # noqa: E731
    eventually(once, 8, f"the route to {vip} leads nowhere: {router.route_get(vip.partition('/')[0])}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", MAKES)
def test_the_announcer_and_the_kit_understand_each_other(make: str, kind: str) -> None:
    needs(make)
    with announcing(make, kind) as (router, daemon, session, netns):
        daemon.announce(VIP, OTHER, VIP6)
        wanted = {prefix: {str(session.next_hop(6 if ":" in prefix else 4))} for prefix in (VIP, OTHER, VIP6)}

        def found() -> dict[str, set[str]]:
            return {prefix: hops(router, prefix) for prefix in wanted}

        eventually(lambda: found() == wanted, 15, lambda: f"{found()}, expected {wanted}: {router.log[-3000:]}")
        assert router.session(str(session.address)) == "Established"
        if not isinstance(router, Gobgp):
            answers(router, netns, VIP)
            answers(router, netns, VIP6)
        daemon.announce(VIP, VIP6, communities=("65535:0",))
        eventually(lambda: hops(router, OTHER) == set(), 5, "a withdrawn VIP stayed")
        if isinstance(router, Frr):
            drained = lambda: "gracefulShutdown" in str(router.paths(VIP)[0].get("community"))  # noqa: E731
            eventually(drained, 5, "GRACEFUL_SHUTDOWN did not arrive")
        assert IPv6Address(session.next_hop(6)) == IPv6Address("fd77:0:0:1::1")
