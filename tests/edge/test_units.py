"""The systemd units that are shipped: they are valid, name what exists, and their rights are enough, and needed."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from edge.daemon.daemon import _TURN
from edge.text import strictyaml
from lab.main import cli
from tests.edge.unit_rig import FAIRHOP, INSTALLED, ROOT, settings

UNITS = ROOT / "packaging" / "systemd"
EDGE, BACKEND = UNITS / "fairhop-edge.service", UNITS / "fairhop-backend.service"
BOTH = pytest.mark.parametrize("unit", [EDGE, BACKEND], ids=lambda unit: unit.stem)
ANALYZE = shutil.which("systemd-analyze")
CONFIG = """\
version: 1
node: a-e1
hashing: {seed: 7, table_size: 101}
forwarder: {interfaces: [eth1], outer_source: 10.0.5.1/32}
announcer:
  asn: 65110
  router_id: 10.255.0.6
  lease: 10.0
  bfd: {}
  read_back: {listen: 10.0.5.1}
  peers:
  - name: a-r1
    address: 10.0.5.0
    asn: 65101
    local_address: 10.0.5.1
    passive: true
    port: 179
    md5_file: $CREDENTIALS_DIRECTORY/a-r1.md5
pools:
  web:
    encap: gre
    check: {type: exec, command: [/bin/true]}
    backends: [{name: a-b1, address: 10.0.5.0}]
  far:
    encap: gre
    check: {type: tunnel, probe: icmp, vip: 203.0.113.11, source: 10.255.0.6}
    backends: [{name: a-b2, address: 10.0.5.0}]
services:
  - {name: web, vips: [203.0.113.10], protocol: tcp, port: 80, pool: web}
  - {name: far, vips: [203.0.113.11], protocol: tcp, port: 80, pool: far}
safety: {settle: 0, hold_down: 0, half_life: 0}
"""
AGENT = """\
version: 1
name: a-b1
interface: eth1
address: 10.0.5.1
vips: [203.0.113.10, '2001:db8:1::10']
edges: [10.0.6.1/32]
encaps: [gre, ipip]
echo: {port: 7000}
"""


def commands(unit: Path) -> list[list[str]]:
    return [shlex.split(value) for key, value in settings(unit).items() if key.startswith("Exec")]


@BOTH
def test_every_verb_that_a_unit_names_is_one(unit: Path) -> None:
    assert commands(unit)
    for program, verb, *words in commands(unit):
        assert program == INSTALLED
        assert not words, "an option would have to be looked up, too"
        assert cli.get_command(click.Context(cli), verb) is not None, verb


@BOTH
@pytest.mark.process
@pytest.mark.skipif(ANALYZE is None, reason="not installed: systemd-analyze (package systemd)")
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    assert ANALYZE
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(INSTALLED, str(FAIRHOP)))
    found = subprocess.run([ANALYZE, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False)
    ours = [line for line in found.stderr.splitlines() if unit.name in line]
    assert (found.returncode, ours) == (0, [])
    copy.write_text(copy.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    wrong = subprocess.run([ANALYZE, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False)
    assert "WatchdogSecs" in wrong.stderr


@BOTH
def test_a_unit_waits_for_what_the_daemon_says(unit: Path) -> None:
    told = settings(unit)
    assert (told["Type"], told["NotifyAccess"]) == ("notify", "main")
    assert float(told["WatchdogSec"]) > 5 * _TURN
    assert "CAP_SYS_ADMIN" not in told["CapabilityBoundingSet"]


def test_a_stop_leaves_the_drain_to_the_daemon() -> None:
    """Told to all of its processes, a TERM would end ExaBGP before anything is de-preferred."""
    assert settings(EDGE)["KillMode"] == "process"


def test_credentials_of_the_example_are_named_as_the_documents_name_them() -> None:
    line = next(line for line in EDGE.read_text().splitlines() if line.startswith("#LoadCredential="))
    name = line.split("=")[1].split(":")[0]
    document = (ROOT / "docs" / "systemd.md").read_text()
    assert f"$CREDENTIALS_DIRECTORY/{name}" in document
    assert strictyaml.load(CONFIG, "f").value["announcer"]["peers"][0]["md5_file"].endswith(f"/{name}")


def run(unit: Path, directory: Path) -> dict[str, Any]:
    argv = ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, "-m", "tests.edge.unit_rig"]
    argv += [str(unit), str(directory)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and BPF programs need root")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "fairhop.yaml").write_text(CONFIG)
    (tmp_path / "backend.yaml").write_text(AGENT)
    (tmp_path / "a-r1.md5").write_text("a-secret-key\n")
    return tmp_path


@needs_root
@pytest.mark.kernel
def test_an_edge_does_all_of_its_work_with_the_rights_of_its_unit(files: Path) -> None:
    told = run(EDGE, files)
    assert (told["ready"], told["beats"]) == (True, True), told.get("last")
    assert told["reload"] == [0, "reloaded /mnt/fairhop.yaml: no change\n"]
    assert told["listens"], "on port 179, for a passive peer"
    assert (told["ready again"], told["adopted"]) == (True, True), told
    vips = {vip["prefix"]: vip["stance"] for vip in told["status"]["vips"]}
    assert vips == {"203.0.113.10/32": "announced", "203.0.113.11/32": "de-preferred"}
    assert told["status"]["announcer"]["phase"] == "running"
    assert (told["stopping"], told["status code"], told["left"]) == (True, 0, [])
    assert told["written"] == []
    denied = [line for line in (told["first"] + told["last"]).splitlines() if "ermitted" in line or "denied" in line]
    assert denied == []


@needs_root
@pytest.mark.kernel
def test_a_backend_does_all_of_its_work_with_the_rights_of_its_unit(files: Path) -> None:
    told = run(BACKEND, files)
    assert (told["ready"], told["beats"]) == (True, True), told.get("last")
    assert "attached" not in told["last"].split("decapsulator on")[1].splitlines()[0]
    assert (told["stopping"], told["status code"], told["left"]) == (True, 0, [])


@needs_root
@pytest.mark.kernel
@pytest.mark.parametrize("taken", ["CAP_CHOWN", "CAP_BPF"])
def test_less_than_its_rights_is_not_enough(taken: str, files: Path, tmp_path: Path) -> None:
    """So the test before can fail."""
    less = tmp_path / EDGE.name
    less.write_text(EDGE.read_text().replace(taken, ""))
    assert taken not in settings(less)["CapabilityBoundingSet"]
    told = run(less, files)
    assert (told["ready"], told["status code"]) == (False, 77), "EX_NOPERM, after which systemd starts it no more"
    assert "not permitted" in told["last"]
