"""Every rendered file before the real program's parser: vtysh, nginx, ip."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from lab.addressing import HOSTS, NodePlan, Role
from tests.lab import labs
from tests.lab.labs import named

pytestmark = pytest.mark.lab

SPEAKERS = [(name, node) for name, node in labs.nodes(Role.ROUTER, Role.CLIENT) if node.router == "frr"]
BACKENDS = [*{name: (name, node) for name, node in labs.nodes(Role.BACKEND)}.values()]  # one a lab
SHAPES = [  # one node of each role and number of links, of each lab
    *{(name, node.role, len(node.interfaces)): (name, node) for name, node in labs.nodes(*Role)}.values()
]
_numbers = count()


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


@pytest.mark.parametrize(("name", "node"), SPEAKERS, ids=named)
def test_frr_takes_every_line(name: str, node: NodePlan, tmp_path: Path) -> None:
    needs("vtysh")
    text = labs.files(name)[f"{name}/{node.name}/frr.conf"]
    done = vtysh_check(text, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wrong = vtysh_check(text.replace("router bgp", "router gbp"), tmp_path)
    assert "Unknown command" in wrong.stdout + wrong.stderr  # its status is the last line's alone


@pytest.mark.parametrize(("name", "node"), BACKENDS, ids=named)
def test_nginx_takes_every_line(name: str, node: NodePlan, tmp_path: Path) -> None:
    needs("nginx")
    file = tmp_path / "nginx.conf"
    text = labs.files(name)[f"{name}/{node.name}/nginx.conf"].replace("/run/", f"{tmp_path}/")
    if "ssl_certificate" in text:  # the node makes it when it starts
        needs("openssl")
        (tmp_path / "tls").mkdir()
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout key.pem -out cert.pem"
        subprocess.run(["openssl", *words.split()], cwd=tmp_path / "tls", capture_output=True, check=True)
    with namespace() as space:
        for content, works in ((text, True), (text.replace("listen 80", "listen eighty"), False)):
            file.write_text(content)
            done = inside(space, "nginx", "-t", "-c", str(file))
            assert (done.returncode == 0) == works, done.stderr


@pytest.mark.parametrize(("name", "node"), SHAPES, ids=named)
def test_ip_takes_every_line_twice_and_ends_up_as_planned(name: str, node: NodePlan, tmp_path: Path) -> None:
    """A restarted node finds its addresses and routes still there, so the second run must change nothing."""
    needs("ip")
    lab = labs.plan(name)
    batch = tmp_path / "net.batch"
    batch.write_text(labs.files(name)[f"{name}/{node.name}/net.batch"])
    with namespace() as space, namespace() as far:
        for interface in node.interfaces:
            veth = ["link", "add", interface.name, "type", "veth", "peer", "name", interface.name, "netns", far]
            subprocess.run(["ip", "-n", space, *veth], check=True)
            subprocess.run(["ip", "-n", far, "link", "set", interface.name, "up"], check=True)
        seen = []
        for _ in range(2):
            done = inside(space, "ip", "-force", "-batch", str(batch))
            assert (done.returncode, done.stderr) == (0, "")
            asked = (["-o", "address"], ["route", "show"], ["-6", "route", "show", "default"])
            outputs = [inside(space, "ip", *words).stdout for words in asked]
            seen.append([text.replace(" linkdown", "") for text in outputs])  # carrier comes a moment later
        addresses, routes, routes6 = seen[0]
        assert seen[0] == seen[1]
    wanted = len(node.interfaces) if node.role is Role.EDGE or node.role in HOSTS else 0
    via = "via" if lab.underlay == 4 else "via inet6"
    for interface in node.interfaces:
        assert (f" {interface.address} " in addresses) == (lab.underlay == 4)
        assert f" {interface.address6} " in addresses
    assert len([i for i in node.interfaces if f"{via} {lab.far(i)} dev {i.name}" in routes]) == wanted
    assert len([i for i in node.interfaces if f"via {i.peer_address6} dev {i.name}" in routes6]) == wanted
