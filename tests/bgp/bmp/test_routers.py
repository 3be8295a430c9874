"""The read-back from real routers: FRR's bgpd with its BMP module, and GoBGP, each hearing two edges and a stranger.

e1 is us, e2 another edge of our AS, e3 an AS that nobody expects. The station runs in e1's namespace.
"""

import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from bgp.bmp.compare import LASTING
from bgp.bmp.readback import Fault
from tests.bgp.conftest import announcer_user
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.gobgp import Gobgp
from tests.bgp.routers.net import Leaf, Star, command, needs, star
from tests.bgp.routers.router import Router, eventually, running, stays
from tests.lab.bgp_speaker import GRACEFUL_SHUTDOWN, Speaker

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).resolve().parents[3]
VIP, BARRED, FREE = "203.0.113.10/32", "203.0.113.99/32", "203.0.113.11/32"
VIP6 = "2001:db8:1::10/128"
OURS = (VIP, BARRED, FREE, VIP6)
PORT = 11019
EDGES, STRANGER = 65110, 65199


def documented(language: str) -> str:
    """What docs/read-back.md tells to write, for the addresses here."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "docs/read-back.md").read_text(), flags=re.M | re.S)
    return str(block).replace("10.0.5.1", "10.77.1.1")


FRR = f"""\
ip prefix-list vips seq 5 deny {BARRED}
ip prefix-list vips seq 10 permit 203.0.113.0/24 ge 32
router bgp 65101
 bgp router-id 10.77.1.0
 no bgp ebgp-requires-policy
 neighbor 10.77.1.1 remote-as {EDGES}
 neighbor 10.77.2.1 remote-as {EDGES}
 neighbor 10.77.3.1 remote-as {STRANGER}
 neighbor 10.77.1.1 passive
 neighbor 10.77.2.1 passive
 neighbor 10.77.3.1 passive
 address-family ipv4 unicast
  neighbor 10.77.1.1 prefix-list vips in
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.77.1.1 activate
 exit-address-family
exit
{documented("frr")}"""

GOBGP = f"""\
[global.config]
as = 65101
router-id = "10.77.1.0"
{documented("toml")}
[[defined-sets.prefix-sets]]
prefix-set-name = "barred"
[[defined-sets.prefix-sets.prefix-list]]
ip-prefix = "{BARRED}"
[[policy-definitions]]
name = "vips"
[[policy-definitions.statements]]
[policy-definitions.statements.conditions.match-prefix-set]
prefix-set = "barred"
[policy-definitions.statements.actions]
route-disposition = "reject-route"
[global.apply-policy.config]
import-policy-list = ["vips"]
default-import-policy = "accept-route"
""" + "".join(
    f"""
[[neighbors]]
[neighbors.config]
neighbor-address = "10.77.{number}.1"
peer-as = {asn}
[neighbors.transport.config]
passive-mode = true
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv4-unicast"
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv6-unicast"
"""
    for number, asn in ((1, EDGES), (2, EDGES), (3, STRANGER))
)


class FrrWithBmp(Frr):
    """Its bgpd has the BMP module."""

    def spawn(self, name: str, *argv: str) -> None:
        super().spawn(name, *argv, *(["-M", "bmp"] if name == "bgpd" else []))


@dataclass
class ReadBackDaemon:
    """The driver's process, and what it said last."""

    leaf: Leaf
    run_dir: Path
    settings: dict[str, Any]
    view: dict[str, Any] = field(default_factory=dict)
    events: list[list[str]] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        argv = [sys.executable, "-m", "tests.bgp.bmp.daemon", str(self.run_dir), json.dumps(self.settings)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command(self.leaf.netns, *argv), cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self._reader.join(10)

    def _read(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                told = json.loads(line)
                self.view = told.get("view", self.view)
                if "event" in told:
                    self.events.append(told["event"])

    def intend(self, **routes: Any) -> None:
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(json.dumps({"intend": routes}) + "\n")
        self.process.stdin.flush()

    @property
    def router(self) -> dict[str, Any]:
        nothing = {"known": None, "accepted": None, "refused": None, "others": None, "digests": None}
        return dict(self.view.get("routers", {}).get("r1", nothing))

    def shows(self, what: Callable[[dict[str, Any]], bool], within: float = 10.0) -> None:
        """Wait until the router's facts are so."""
        eventually(lambda: what(self.router), within, lambda: f"not so: {self.router}, {self.events}")

    def finds(self, fault: Fault, prefix: str, within: float) -> str:
        """Wait for a finding; returns its detail."""
        words = [fault.name, "r1", prefix]

        def found() -> list[str]:
            return [detail for *key, detail in self.view.get("findings", []) if key == words] or []

        return str(eventually(lambda: [found()] if found() else [], within, lambda: f"{words}: {self.view}")[0][0])


@dataclass
class Scene:
    net: Star
    router: Router
    daemon: ReadBackDaemon
    stack: ExitStack

    def edge(self, name: str, asn: int = EDGES) -> Speaker:
        leaf = self.net.leaves[name]

        def connected() -> list[Speaker]:
            speaker = Speaker(leaf.netns, leaf.address, leaf.address6, leaf.router, asn)
            if speaker.established(3):
                return [speaker]
            speaker.close()
            return []

        speaker = eventually(connected, 15, f"{name} has no session")[0]
        self.stack.callback(speaker.close)
        return speaker


def settings(**changes: Any) -> dict[str, Any]:
    router = {"name": "r1", "address": "10.77.1.0", "local": ["10.77.1.1"], "pre_only": False}
    plain = {"asn": EDGES, "router_id": "10.77.1.1", "prefixes": OURS, "routers": [router], "listen": "10.77.1.1"}
    plain |= {"port": PORT, "command": [], "interval": 1.0, "limit": 1.0, "silence": 60.0, "origins": []}
    return plain | {"peers": {"r1": ["10.77.1.0"]}, "grace": 1.0, "user": announcer_user()} | changes


@contextmanager
def scene(make: type[Router], config: str, directory: Path, **changes: Any) -> Iterator[Scene]:
    needs(make.kind)
    with ExitStack() as stack:
        net = stack.enter_context(star("fh-bmp", ["e1", "e2", "e3"]))
        router = stack.enter_context(running(make, net, config))
        daemon = stack.enter_context(ReadBackDaemon(net.leaves["e1"], directory, settings(**changes)))
        yield Scene(net, router, daemon, stack)


MAKES = pytest.mark.parametrize(("make", "config"), [(FrrWithBmp, FRR), (Gobgp, GOBGP)], ids=["frr", "gobgp"])


@MAKES
def test_accepted_refused_and_others_are_read_back_and_a_lost_session_is_unknown(
    make: type[Router], config: str, tmp_path: Path
) -> None:
    with scene(make, config, tmp_path) as world:
        daemon = world.daemon
        daemon.intend(**{VIP: {}, BARRED: {}, VIP6: {}})
        us = world.edge("e1")
        us.announce(VIP, BARRED)
        daemon.shows(lambda r: r["known"] is True and r["accepted"] == [VIP] and r["refused"] == [BARRED], 15)
        assert daemon.router["others"] == {}

        other = world.edge("e2")
        other.announce(VIP)
        daemon.shows(lambda r: r["others"] == {VIP: {"node 10.77.2.1": False}})
        other.announce(VIP, communities=[GRACEFUL_SHUTDOWN])
        daemon.shows(lambda r: r["others"] == {VIP: {"node 10.77.2.1": True}})
        other.close()
        daemon.shows(lambda r: r["others"] == {})

        us.withdraw(VIP)
        daemon.shows(lambda r: r["accepted"] == [])
        us.announce(VIP, VIP6)
        daemon.shows(
            lambda r: r["accepted"] == sorted([VIP, VIP6]), 20
        )  # FRR tells of a late next hop when it is asked again
        us.close()
        daemon.shows(lambda r: r["accepted"] == [] and r["refused"] == [])

        world.router.stop()
        daemon.shows(lambda r: r["known"] is False, 10)
        assert ["read-back r1", "known", "unknown"] in [event[:3] for event in daemon.events]


@MAKES
def test_what_is_missing_refused_different_or_foreign_is_found_and_what_fits_is_not(
    make: type[Router], config: str, tmp_path: Path
) -> None:
    with scene(make, config, tmp_path) as world:
        daemon = world.daemon
        daemon.intend(**{VIP: {}, BARRED: {}, FREE: {}, VIP6: {"med": 7}})
        us, stranger = world.edge("e1"), world.edge("e3", STRANGER)
        us.announce(VIP, BARRED, VIP6)
        stranger.announce(VIP)
        limit = LASTING + 10
        daemon.finds(Fault.MISSING, FREE, limit)
        daemon.finds(Fault.REFUSED, BARRED, limit)
        assert daemon.finds(Fault.DIFFERS, VIP6, limit) == "med none, announced 7"
        assert daemon.finds(Fault.FOREIGN, VIP, limit) == f"AS {STRANGER}"
        assert {(fault, prefix) for fault, _, prefix, _ in daemon.view["findings"]} == {
            ("MISSING", FREE), ("REFUSED", BARRED), ("DIFFERS", VIP6), ("FOREIGN", VIP),
        }  # fmt: skip
        assert daemon.router["others"] == {}  # a stranger is nobody to rely on

        daemon.intend(**{VIP: {}, BARRED: None, VIP6: {}})
        stranger.withdraw(VIP)
        us.withdraw(BARRED)
        eventually(lambda: daemon.view["findings"] == [], 10, lambda: f"still found: {daemon.view}")
        assert ["route 203.0.113.11/32 at r1", "missing", "as intended"] in [event[:3] for event in daemon.events]


STRIPPED = FRR.replace(
    "router bgp 65101\n",
    "bgp large-community-list expanded ANY seq 5 permit .*\n"
    "route-map STRIP permit 10\n set large-comm-list ANY delete\nexit\nrouter bgp 65101\n",
).replace(
    " address-family ipv4 unicast\n  neighbor 10.77.1.1 prefix-list vips in\n",
    " address-family ipv4 unicast\n  neighbor 10.77.1.1 prefix-list vips in\n  neighbor 10.77.2.1 route-map STRIP in\n"
    "  neighbor 10.77.2.1 soft-reconfiguration inbound\n",
)


@pytest.mark.parametrize(
    ("make", "config"), [(FrrWithBmp, FRR), (FrrWithBmp, STRIPPED), (Gobgp, GOBGP)], ids=["frr", "stripped", "gobgp"]
)
def test_another_node_s_digest_is_read_though_the_policy_may_take_it_away(
    make: type[Router], config: str, tmp_path: Path
) -> None:
    with scene(make, config, tmp_path) as world:
        daemon = world.daemon
        daemon.intend(**{VIP: {}})
        other = world.edge("e2")
        other.announce(VIP, large=[(EDGES, 18504, 0xFFFFFFFF), (EDGES, 1, 2)])
        daemon.shows(lambda r: r["digests"] == {VIP: {"node 10.77.2.1": 0xFFFFFFFF}}, 15)
        assert daemon.router["others"] == {VIP: {"node 10.77.2.1": False}}
        other.announce(VIP, large=[(EDGES, 18504, 5)])
        daemon.shows(lambda r: r["digests"] == {VIP: {"node 10.77.2.1": 5}})
        if isinstance(world.router, Frr):  # nothing of it stays where the kits' policy is
            (held,) = world.router.paths(VIP)
            assert ("largeCommunity" in held) == (config is FRR)
        other.announce(VIP)
        daemon.shows(lambda r: r["digests"] == {VIP: {"node 10.77.2.1": None}})


def test_a_station_that_is_killed_comes_back_and_its_facts_are_unknown_only_after_the_grace(tmp_path: Path) -> None:
    with scene(Gobgp, GOBGP, tmp_path) as world:
        daemon = world.daemon
        us = world.edge("e1")
        us.announce(VIP)
        daemon.shows(lambda r: r["accepted"] == [VIP], 15)
        first = daemon.view["pid"]
        subprocess.run(["kill", "-9", str(first)], check=True)
        eventually(lambda: daemon.view["pid"] not in (None, first), 10, "it was not started again")
        daemon.shows(lambda r: r["known"] is True and r["accepted"] == [VIP], 40)  # GoBGP comes back when it likes

        subprocess.run(["kill", "-STOP", str(daemon.view["pid"])], check=True)
        daemon.shows(lambda r: r["known"] is False, 15)
        daemon.shows(lambda r: r["known"] is True and r["accepted"] == [VIP], 40)


@MAKES
def test_what_our_own_announcer_says_is_accepted_as_it_was_meant(
    make: type[Router], config: str, tmp_path: Path
) -> None:
    # The announcer's account must get through to its files: pytest's own directories are root's alone.
    with scene(make, config, tmp_path) as world, tempfile.TemporaryDirectory(prefix="fh-bmp-") as open_dir:
        Path(open_dir).chmod(0o755)
        leaf = world.net.leaves["e1"]
        peer = {"name": "r1", "address": str(leaf.router), "asn": 65101, "local_address": str(leaf.address)}
        told = {"asn": EDGES, "router_id": str(leaf.address), "hold_time": 9, "lease": 5.0, "user": announcer_user()}
        told |= {"prefixes": OURS, "peers": [peer | {"local_address6": str(leaf.address6)}]}
        argv = [sys.executable, "-m", "tests.bgp.edge_daemon", f"{open_dir}/announcer", json.dumps(told)]
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        with subprocess.Popen(command(leaf.netns, *argv), cwd=ROOT, stdin=pipe, stdout=null, text=True) as announcer:
            assert announcer.stdin is not None
            routes = {VIP: {"communities": ["65535:0", "65110:7"]}, VIP6: {"communities": []}}
            announcer.stdin.write(json.dumps({"declare": routes}) + "\n")
            announcer.stdin.flush()
            world.daemon.intend(**routes)
            try:
                world.daemon.shows(lambda r: r["accepted"] == sorted([VIP, VIP6]), 40)
                stays(lambda: world.daemon.view["findings"] == [], LASTING + 2, f"found: {world.daemon.view}")
                assert world.daemon.router["accepted"] == sorted([VIP, VIP6])
            finally:
                announcer.stdin.close()
                announcer.wait(15)
