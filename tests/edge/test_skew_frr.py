"""Three daemons behind a real FRR that is read back: one gets another pool, and leaves as it is outvoted."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bgp.bmp.test_routers import FrrWithBmp
from tests.bgp.routers.net import Leaf, needs, star
from tests.bgp.routers.router import Router, eventually, running
from tests.edge.unit_rig import FAIRHOP

pytestmark = [pytest.mark.kernel, pytest.mark.calm]

VIP = "203.0.113.10/32"
NUMBERS = (1, 2, 3)
_EDGES = "".join(f" neighbor 10.77.{n}.1 remote-as 65110\n neighbor 10.77.{n}.1 passive\n" for n in NUMBERS)
_INBOUND = "".join(f"  neighbor 10.77.{n}.1 soft-reconfiguration inbound\n" for n in NUMBERS)
_CONNECT = "".join(f"  bmp connect 10.77.{n}.1 port 11019 min-retry 100 max-retry 1000\n" for n in NUMBERS)
FRR = f"""\
router bgp 65101
 bgp router-id 10.77.1.0
 no bgp ebgp-requires-policy
{_EDGES} address-family ipv4 unicast
{_INBOUND} exit-address-family
 bmp targets edges
  bmp stats interval 10000
  bmp monitor ipv4 unicast pre-policy
  bmp monitor ipv4 unicast post-policy
{_CONNECT} exit
exit
"""


def config(number: int, backend: str = "10.77.9.1") -> str:
    return f"""\
version: 1
node: e{number}
hashing: {{seed: 7, table_size: 101}}
forwarder: {{interfaces: [eth0], outer_source: 10.77.{number}.1/32}}
announcer:
  asn: 65110
  router_id: 10.255.0.{number}
  read_back: {{listen: 10.77.{number}.1}}
  peers: [{{name: r1, address: 10.77.{number}.0, asn: 65101, local_address: 10.77.{number}.1}}]
pools:
  web:
    encap: gre
    check: {{type: exec, command: [/bin/true]}}
    backends: [{{name: b1, address: {backend}}}]
services: [{{name: web, vips: [203.0.113.10], protocol: tcp, port: 80, pool: web}}]
safety: {{settle: 0, hold_down: 0, half_life: 0, skew: {{after: 2, do: withdraw}}}}
"""


class Edge:
    """A daemon in a leaf's network namespace, with a /run and a BPF file system of its own."""

    def __init__(self, leaf: Leaf, file: Path, log: Path) -> None:
        own = "mount -t tmpfs -o mode=755 tmpfs /run && mount -t bpf bpf /sys/fs/bpf"
        line = f"{own} && exec {FAIRHOP} run --config {file} --intent /run/intent.json"
        argv = ["nsenter", f"--net={leaf.netns}", "unshare", "--mount", "--propagation", "private", "sh", "-c", line]
        with log.open("w") as errors:
            self._daemon = subprocess.Popen(argv, stderr=errors)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = ["nsenter", "-t", str(self._daemon.pid), "-m", "-n", str(FAIRHOP), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    @property
    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.ask("status", "--json").stdout or "{}")
        return told

    @property
    def says(self) -> tuple[str, str]:
        """Its state of skew, and its stance."""
        told = self.status
        return (told["skew"]["state"], told["vips"][0]["stance"]) if told else ("", "")

    def close(self) -> None:
        self._daemon.terminate()
        self._daemon.wait(20)


@contextmanager
def edges(directory: Path) -> Iterator[tuple[Router, dict[int, Edge]]]:
    needs("frr")
    with ExitStack() as stack:
        net = stack.enter_context(star("fh-skew", [f"e{number}" for number in NUMBERS]))
        router = stack.enter_context(running(FrrWithBmp, net, FRR))
        found = {}
        for number in NUMBERS:
            file = directory / f"e{number}.yaml"
            file.write_text(config(number))
            found[number] = Edge(net.leaves[f"e{number}"], file, directory / f"e{number}.log")
            stack.callback(found[number].close)
        yield router, found


def test_the_one_with_another_pool_leaves_when_the_others_agree_and_comes_back(tmp_path: Path) -> None:
    with edges(tmp_path) as (router, nodes):

        def all_say(*expected: tuple[str, str]) -> None:
            def so() -> bool:
                return [node.says for node in nodes.values()] == [*expected]

            eventually(so, 60, lambda: f"{[(node.says, node.status['skew']['reason']) for node in nodes.values()]}")

        fine = ("agreed", "announced")
        all_say(fine, fine, fine)
        assert len(router.accepted(VIP)) == 3
        (tmp_path / "e1.yaml").write_text(config(1, "10.77.9.2"))
        assert nodes[1].ask("reload").returncode == 0
        all_say(("outvoted", "withdrawn"), fine, fine)
        assert len(router.accepted(VIP)) == 2
        status = nodes[1].ask("status")
        assert (status.returncode, "2 of 2 other node(s) carry" in status.stdout.splitlines()[0]) == (1, True)
        (tmp_path / "e1.yaml").write_text(config(1))
        assert nodes[1].ask("reload").returncode == 0
        all_say(fine, fine, fine)
        log = (tmp_path / "e1.log").read_text()
        assert [line.split("skew: ")[1].split(",")[0] for line in log.splitlines() if " skew: " in line] == [
            "none -> outvoted",
            "outvoted -> none",
        ]
