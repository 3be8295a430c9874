"""What of containerlab's format shows on a running lab: bridges, shared namespaces, env-files."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.netns.runtime import NetnsRuntime
from lab.runtime import LabError
from lab.runtimes.files import read_topology
from tests.lab.machine import marks, traces

pytestmark = marks

NAME = f"fhns-form-{os.getpid()}"
UP = f"fhf{os.getpid()}"  # not fhns: other tests on this machine look for strays of that name
BODY = f"""name: {NAME}
topology:
  defaults: {{kind: linux, network-mode: none, env-files: [some.env]}}
  nodes:
    a: {{env: {{B: own}}, exec: [ip addr add 10.0.0.1/24 dev eth1, ip addr add 10.0.1.1/24 dev eth2]}}
    b: {{exec: [ip addr add 10.0.0.2/24 dev eth1]}}
    c: {{exec: [ip addr add 10.0.1.2/24 dev inner]}}
    beside: {{network-mode: "container:c", cmd: sh}}
    sw: {{kind: bridge}}
    inner|c: {{kind: bridge, network-mode: "container:c"}}
    machine: {{kind: host, exec: [test -d /proc]}}
  links:
    - {{endpoints: ["a:eth1", "sw:p1"]}}
    - {{endpoints: ["b:eth1", "sw:p2"]}}
    - {{endpoints: ["a:eth2", "inner|c:p3"]}}
    - {{endpoints: ["a:eth3", "host:{UP}"], mtu: 1400}}
    - {{type: vxlan, endpoint: {{node: b, interface: vx}}, remote: 192.0.2.1, vni: 7, mtu: 1400}}
"""


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("format")
    (folder / "some.env").write_text("A=from file\nB=lost\n")
    (folder / "t.clab.yml").write_text(BODY)
    return folder


@pytest.fixture(scope="module", name="lab")
def _lab(folder: Path) -> Iterator[NetnsRuntime]:
    with NetnsRuntime(read_topology(folder / "t.clab.yml")) as lab:
        told: list[str] = []
        lab.deploy(told.append)
        assert told == []
        yield lab
    assert traces(NAME) == []
    assert not Path("/sys/class/net", UP).exists()


def output(lab: NetnsRuntime, node: str, *argv: str) -> str:
    done = lab.exec(node, argv)
    assert done.returncode == 0, done
    return done.stdout.strip()


def test_nodes_talk_through_a_bridge_of_its_own_and_through_one_in_a_node(lab: NetnsRuntime) -> None:
    output(lab, "a", "ping", "-c1", "-W3", "10.0.0.2")
    output(lab, "a", "ping", "-c1", "-W3", "10.0.1.2")
    assert {"p1", "p2"} <= set(output(lab, "sw", "ls", "/sys/class/net/sw/brif").split())
    assert output(lab, "c", "ls", "/sys/class/net/inner/brif") == "p3"


def test_a_node_in_anothers_namespace_shares_its_network_alone(lab: NetnsRuntime) -> None:
    assert lab.netns("beside") == lab.netns("c") == lab.netns("inner|c")
    assert "10.0.1.2/24" in output(lab, "beside", "ip", "-br", "addr")
    pids = {node.name: node.pid for node in lab.nodes()}
    assert pids["beside"] not in (0, pids["c"])
    assert pids["inner|c"] == pids["c"] and pids["machine"] == 0
    assert {node.name: node.state for node in lab.nodes()}["machine"] == "running"
    with pytest.raises(LabError, match=r"inner\|c is part of node c, and has no processes of its own"):
        lab.kill("inner|c")
    with pytest.raises(LabError, match="machine is the machine itself"):
        lab.restart("machine")


def test_links_to_the_machine_and_out_of_it(lab: NetnsRuntime) -> None:
    assert Path(f"/sys/class/net/{UP}/mtu").read_text() == "1400\n"
    assert output(lab, "a", "cat", "/sys/class/net/eth3/carrier") == "1"
    assert "vxlan id 7 remote 192.0.2.1" in output(lab, "b", "ip", "-d", "link", "show", "vx")


def test_env_files_come_below_env(lab: NetnsRuntime) -> None:
    assert output(lab, "a", "sh", "-c", "echo $A/$B") == "from file/own"


def test_restart_ends_a_node_gently_and_keeps_its_links(lab: NetnsRuntime) -> None:
    before = output(lab, "b", "cat", "/sys/class/net/eth1/ifindex")
    pid = {node.name: node.pid for node in lab.nodes()}["b"]
    with lab.spawn("b", ["sleep", "1000"]):
        lab.restart("b")
    assert {node.name: node.pid for node in lab.nodes()}["b"] not in (0, pid)
    assert output(lab, "b", "cat", "/sys/class/net/eth1/ifindex") == before
    output(lab, "a", "ping", "-c1", "-W3", "10.0.0.2")


def test_an_interface_of_the_machine_is_never_taken(lab: NetnsRuntime, folder: Path) -> None:
    other = folder / "other.clab.yml"
    text = f"name: {NAME}-o\ntopology:\n  nodes: {{a: {{kind: linux, network-mode: none}}}}\n"
    other.write_text(f"{text}  links: [{{endpoints: ['a:e1', 'host:{UP}']}}]\n")
    with pytest.raises(LabError, match=f"interface {UP} exists already on this machine"):
        NetnsRuntime(read_topology(other)).deploy(lambda _: None)
    assert Path("/sys/class/net", UP).exists()
    assert traces(f"{NAME}-o") == []


def test_a_bridge_of_the_machine_is_used_and_stays(folder: Path) -> None:
    bridge, lab_name = f"fhb{os.getpid()}", f"fhns-outer-{os.getpid()}"
    path = folder / "bridge.clab.yml"
    text = (
        f"name: {NAME}-b\ntopology:\n  nodes: {{a: {{kind: linux, network-mode: none}}, {bridge}: {{kind: bridge}}}}\n"
    )
    path.write_text(f"{text}  links: [{{endpoints: ['a:e1', '{bridge}:{bridge}p']}}]\n")
    ports = Path(f"/sys/class/net/{bridge}/brif")
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
    try:
        with NetnsRuntime(read_topology(path)) as lab:
            lab.deploy(lambda _: None)
            assert [port.name for port in ports.iterdir()] == [f"{bridge}p"]
        assert list(ports.iterdir()) == []
    finally:
        subprocess.run(["ip", "link", "delete", bridge], check=True)
    assert traces(lab_name) == []
