"""containerlab's own files of kinds linux, bridge and host, deployed on namespaces as they are, or why not."""

import contextlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edge.text.strictyaml import ConfigError
from lab.netns.runtime import NetnsRuntime
from lab.runtime import LabError
from lab.runtimes.files import read_topology
from tests.lab import examples
from tests.lab.machine import marks, traces

FILES = examples.files()
# Why a file cannot be deployed here: the words of the error. Everything that is not in this table must come up.
CANNOT = {
    "01-smoke/01-linux-nodes.clab.yml": "link type 'mgmt-net' is containerlab's but not supported here",
    "01-smoke/16-mgmtnetinterface.clab.yml": "mgmt-net is containerlab's but not supported here",
    "01-smoke/09-external-ca.clab.yml": "key 'certificate' of a node is containerlab's but not supported here",
    "01-smoke/10-internal-ca.clab.yml": "key 'certificate' of a node is containerlab's but not supported here",
    "01-smoke/27-exited-container-cli.clab.yml": "command 'nosuchcommand' is not found",
    "01-smoke/30-bridge-reconcile.clab.yml": "Go templates",
    "01-smoke/macvlan.clab.yml": "there is no interface ens3",
    "06-ext-container/02-shared-namespace.clab.yaml": "names 'ext-node', which is no node of this file",
    "08-vxlan/03-vxlan-tools.clab.yml": "is no interface name",
    "08-vxlan/vxlan-stitch-linux.clab.yml": "link type 'vxlan-stitch' is containerlab's but not supported here",
}
ASH = "command 'ash' is not found in .*: nodes have this machine's programs, no image's"
pytestmark = [
    *marks,
    pytest.mark.skipif(not FILES, reason="Go or containerlab's module is missing: its files are unknown"),
]


def reason(path: Path) -> str:
    """Why the file cannot be deployed; empty when it must come up."""
    key = str(Path(*path.parts[-2:]))
    needs_ash = "cmd: ash" in path.read_text() and not shutil.which("ash")
    return CANNOT.get(key) or (ASH if needs_ash else "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(Path(*path.parts[-2:])))
def test_a_file_of_containerlab_comes_up_or_says_why_not(path: Path) -> None:
    expected = reason(path)
    with contextlib.ExitStack() as stack:
        if expected:
            stack.enter_context(pytest.raises((ConfigError, LabError), match=expected))
        topology = read_topology(path)
        name = f"fhns-ex-{os.getpid()}"
        told: list[str] = []
        try:
            with NetnsRuntime(replace(topology, name=name)) as runtime:
                runtime.deploy(told.append)
                states = {node.name: node.state for node in runtime.nodes()}
                assert set(states.values()) <= {"running", "exited"} and "running" in states.values(), told
                for link in topology.links:
                    shown = runtime.exec(link.a.node, ["test", "-e", f"/sys/class/net/{link.a.interface}"])
                    assert shown.returncode == 0 or states[link.a.node] == "exited", link
        finally:
            assert traces(name) == []


def test_the_table_names_files_that_exist() -> None:
    known = {str(Path(*path.parts[-2:])) for path in FILES}
    assert known >= CANNOT.keys()
    assert len(known - CANNOT.keys()) >= 10
