"""The refusal to measure on a lab that would lie: the decision, and the facts it rests on."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import edge
from lab.netns.runtime import NetnsRuntime
from lab.observe.check import NATIVE_MTU, Finding, Interface, gather, judge
from lab.observe.inspect_links import check
from lab.runtime import LabError
from lab.runtimes.files import read_topology
from lab.topology.parse import Endpoint, load
from tests.lab.machine import marks, traces

TOPOLOGY = load(
    'name: t\ntopology:\n  nodes: {r: {kind: linux}, e: {kind: linux}}\n  links: [{endpoints: ["r:eth3", "e:eth1"]}]',
    "t",
)
ROUTER, EDGE = TOPOLOGY.links[0].ends
HONEST = Interface(frozenset(), "", 1500)


def findings(router: Interface | None, edge_end: Interface | None) -> list[tuple[str, str]]:
    ends = {ROUTER: router, EDGE: edge_end}
    return [(f.node, f.reason) for f in judge(TOPOLOGY, {end: value for end, value in ends.items() if value})]


def with_xdp(mode: str, mtu: int = 1500) -> Interface:
    return replace(HONEST, xdp=mode, mtu=mtu)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("router", "edge_end", "expected"),
    [
        (HONEST, HONEST, []),
        (with_xdp("native"), with_xdp("native"), []),
        (HONEST, with_xdp("generic"), []),
        (replace(HONEST, offloads=frozenset({"gso"})), HONEST, [("r", "offload-on")]),
        (HONEST, with_xdp("native"), [("r", "peer-lacks-xdp")]),
        (with_xdp("native"), HONEST, [("e", "peer-lacks-xdp")]),
        (with_xdp("generic"), with_xdp("native"), []),
        (with_xdp("generic", NATIVE_MTU), replace(HONEST, mtu=NATIVE_MTU), []),
        (
            with_xdp("generic", NATIVE_MTU + 1),
            replace(HONEST, mtu=NATIVE_MTU + 1),
            [("r", "mtu-above-native"), ("e", "mtu-above-native")],
        ),
        (replace(HONEST, mtu=9500), replace(HONEST, mtu=9500), []),
        (HONEST, replace(HONEST, mtu=1400), [("r", "mtu-differs")]),
        (HONEST, None, [("e", "missing")]),
        (None, None, [("r", "missing"), ("e", "missing")]),
    ],
)
def test_decision(router: Interface | None, edge_end: Interface | None, expected: list[tuple[str, str]]) -> None:
    assert findings(router, edge_end) == expected


def test_words_name_the_place_and_the_command_that_mends() -> None:
    bad = {ROUTER: Interface(frozenset({"tso", "tx"}), "", 9000), EDGE: with_xdp("native")}
    assert [str(finding) for finding in judge(TOPOLOGY, bad)] == [
        "r:eth3: offloads tx, tso are on; mend with: ethtool -K eth3 tx off tso off",
        "r:eth3: no XDP program, but e:eth1 runs native XDP and would lose what it sends; "
        "mend with: ip link set dev eth3 xdpdrv object $FAIRHOP_BPF/pass.bpf.o section xdp",
        "r:eth3: MTU 9000 is above 3506, the most that native XDP takes on a veth; "
        "mend with: ip link set dev eth3 mtu 1500",
        "r:eth3: MTU 9000 is above that of e:eth1, 1500: larger frames vanish; "
        "mend with: ip link set dev eth3 mtu 1500",
    ]


def test_gather_asks_each_node_for_its_own_ends() -> None:
    def read(node: str, interfaces: Iterable[str]) -> Mapping[str, Interface]:
        assert (node, *interfaces) in (("r", "eth3"), ("e", "eth1"))
        return {"eth3": HONEST} if node == "r" else {}

    assert gather(TOPOLOGY, read) == {Endpoint("r", "eth3"): HONEST}


LAB = """name: NAME
topology:
  defaults: {kind: linux, network-mode: none}
  nodes: {r1: , r2: }
  links: [{endpoints: ["r1:fhns1", "r2:fhns1"], mtu: 1500}, {endpoints: ["r1:fhns2", "r2:fhns2"]}]
"""
OBJECT = Path(edge.__file__).parent / "datapath" / "bpf" / "pass.bpf.o"


def _marked(test: Callable[..., None]) -> Callable[..., None]:
    for mark in marks:
        test = mark(test)
    return test


@_marked
@pytest.mark.skipif(not OBJECT.exists(), reason="the BPF objects are not built")
def test_real_interfaces_are_found_out_and_each_remedy_mends(tmp_path: Path) -> None:
    name = f"fhns-check-{os.getpid()}"
    path = tmp_path / "t.clab.yml"
    path.write_text(LAB.replace("NAME", name))
    topology = read_topology(path)
    with NetnsRuntime(topology) as lab:
        with pytest.raises(LabError, match=r"node r1 has no network namespace /run/netns/.*: is the lab up\?"):
            check(lab, topology)
        lab.deploy(lambda _: None)
        lab.exec("r1", ["sh", "-c", "ip link set dev fhns1 xdpdrv object $FAIRHOP_BPF/pass.bpf.o section xdp"])
        lab.exec("r1", ["sh", "-c", "ip link set dev fhns2 xdpgeneric object $FAIRHOP_BPF/pass.bpf.o section xdp"])
        lab.exec("r2", ["ip", "link", "set", "fhns2", "mtu", "9000"])
        found = check(lab, topology)
        assert {(f.node, f.interface, f.reason) for f in found} >= {
            ("r2", "fhns1", "offload-on"),
            ("r2", "fhns1", "peer-lacks-xdp"),
            ("r1", "fhns2", "mtu-above-native"),
            ("r1", "fhns2", "mtu-differs"),
        }
        for _ in range(2):  # an MTU lowered on one end may have to be lowered on the other
            assert mended(lab, check(lab, topology))
        assert check(lab, topology) == []
    assert traces(name) == []


def mended(lab: NetnsRuntime, found: list[Finding]) -> bool:
    """Whether every command that a finding offers succeeds in its node."""
    return all(lab.exec(f.node, ["sh", "-c", f.mend]).returncode == 0 for f in found)
