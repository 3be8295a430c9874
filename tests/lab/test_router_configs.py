"""Every rendered file before the real program's parser: vtysh, nginx, ip."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from lab.addressing import NodePlan, Role
from lab.render.lab_files import render
from tests.lab.two_site import two_site_plan

pytestmark = pytest.mark.lab

PLAN = two_site_plan()
FILES = render(PLAN)
SPEAKERS = [*PLAN.having(Role.ROUTER), *PLAN.having(Role.CLIENT)]
_numbers = count()


def named(node: NodePlan) -> str:
    return node.name


def needs(*programs: str) -> None:
    """Skip, naming what is missing."""
    missing = [
        program for program in programs if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    ]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (apt install frr nginx-light iproute2)")
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")


@contextmanager
def namespace() -> Iterator[str]:
    name = f"fh-ren-{os.getpid()}-{next(_numbers)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def inside(name: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["nsenter", f"--net=/run/netns/{name}", *argv], capture_output=True, text=True, check=False)


def vtysh_check(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "frr.conf").write_text(text)
    argv = ["vtysh", "-C", "-f", str(folder / "frr.conf")]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("node", SPEAKERS, ids=named)
def test_frr_takes_every_line(node: NodePlan, tmp_path: Path) -> None:
    needs("vtysh")
    text = FILES[f"two-site/{node.name}/frr.conf"]
    done = vtysh_check(text, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert vtysh_check(text.replace("router bgp", "router gbp"), tmp_path).returncode != 0


@pytest.mark.parametrize("node", PLAN.having(Role.BACKEND), ids=named)
def test_nginx_takes_every_line(node: NodePlan, tmp_path: Path) -> None:
    needs("nginx")
    file = tmp_path / "nginx.conf"
    text = FILES[f"two-site/{node.name}/nginx.conf"].replace("/run/", f"{tmp_path}/")
    with namespace() as name:
        for content, works in ((text, True), (text.replace("listen 80", "listen eighty"), False)):
            file.write_text(content)
            done = inside(name, "nginx", "-t", "-c", str(file))
            assert (done.returncode == 0) == works, done.stderr


@pytest.mark.parametrize("node", [*PLAN.nodes.values()], ids=named)
def test_ip_takes_every_line_twice_and_ends_up_as_planned(node: NodePlan, tmp_path: Path) -> None:
    """A restarted node finds its addresses and routes still there, so the second run must change nothing."""
    needs("ip")
    batch = tmp_path / "net.batch"
    batch.write_text(FILES[f"two-site/{node.name}/net.batch"])
    with namespace() as name, namespace() as far:
        for interface in node.interfaces:
            veth = ["link", "add", interface.name, "type", "veth", "peer", "name", interface.name, "netns", far]
            subprocess.run(["ip", "-n", name, *veth], check=True)
            subprocess.run(["ip", "-n", far, "link", "set", interface.name, "up"], check=True)
        seen = []
        for _ in range(2):
            done = inside(name, "ip", "-force", "-batch", str(batch))
            assert (done.returncode, done.stderr) == (0, "")
            asked = (["-o", "address"], ["route", "show"], ["-6", "route", "show", "default"])
            outputs = [inside(name, "ip", *words).stdout for words in asked]
            seen.append([text.replace(" linkdown", "") for text in outputs])  # carrier comes a moment later
        addresses, routes, routes6 = seen[0]
        assert seen[0] == seen[1]
    wanted = {Role.EDGE: 2, Role.BACKEND: 1}.get(node.role, 0)
    for interface in node.interfaces:
        assert f" {interface.address} " in addresses
        assert f" {interface.address6} " in addresses
    assert len([i for i in node.interfaces if f"via {i.peer_address} dev {i.name}" in routes]) == wanted
    assert len([i for i in node.interfaces if f"via {i.peer_address6} dev {i.name}" in routes6]) == wanted
