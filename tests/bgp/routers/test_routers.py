"""The routers themselves: each starts, takes a route from an honest speaker, and leaves nothing behind."""

import subprocess
from pathlib import Path

import pytest

from tests.bgp.routers.bird import Bird
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.gobgp import Gobgp
from tests.bgp.routers.net import needs, star
from tests.bgp.routers.router import Router, eventually, running
from tests.lab.bgp_speaker import Speaker

pytestmark = pytest.mark.kernel

VIP = "203.0.113.10/32"

FRR = """\
router bgp 65101
 bgp router-id 10.77.1.0
 no bgp ebgp-requires-policy
 neighbor 10.77.1.1 remote-as 65110
 neighbor 10.77.1.1 passive
"""

BIRD = """\
router id 10.77.1.0;
protocol device {}
protocol kernel { ipv4 { export all; }; }
protocol bgp edge { local as 65101; neighbor 10.77.1.1 as 65110; passive on; ipv4 { import all; export none; }; }
"""

GOBGP = """\
[global.config]
as = 65101
router-id = "10.77.1.0"
[[neighbors]]
[neighbors.config]
neighbor-address = "10.77.1.1"
peer-as = 65110
[neighbors.transport.config]
passive-mode = true
"""


@pytest.mark.parametrize(("make", "config"), [(Frr, FRR), (Bird, BIRD), (Gobgp, GOBGP)], ids=["frr", "bird", "gobgp"])
def test_a_router_learns_forgets_and_leaves_nothing(make: type[Router], config: str) -> None:
    needs(make.kind)
    with star("fh-kit", ["e1"]) as net, running(make, net, config) as router:
        leaf, directory, netns = net.leaves["e1"], router.directory, net.netns
        pids = [process.pid for process in router.processes.values()]
        assert router.session("10.77.1.1") not in ("Established", "absent")
        assert router.session("10.77.9.1") == "absent"
        with Speaker(leaf.netns, leaf.address, leaf.address6, leaf.router, 65110) as edge:
            assert edge.established(10)
            assert router.accepted(VIP) == []
            edge.announce(VIP)
            eventually(lambda: router.accepted(VIP) == ["10.77.1.1"], 5, f"{VIP} was not learned")
            if make is not Gobgp:
                eventually(lambda: router.learned().get(VIP) == {"10.77.1.1": 1}, 5, f"{VIP} is not in the kernel")
            assert router.session("10.77.1.1") == "Established"
        eventually(lambda: router.accepted(VIP) == [], 5, f"{VIP} was not forgotten")
        assert router.alive()
    assert not directory.exists()
    assert not netns.exists()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_a_failure_leaves_nothing_either() -> None:
    needs("bird")
    failed = pytest.raises(pytest.fail.Exception, match="bird did not start")
    with failed, star("fh-kit", ["e1"]) as net, running(Bird, net, "router id 10.77.1.0; nonsense"):
        pass
    assert net.netns.name not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
