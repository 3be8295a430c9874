"""`fairhop forwarder load`: program and tables from a file, attached to nothing; and `why --config` by the program."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.config.file import load
from edge.datapath import abi
from edge.datapath.abi import Reason, Verdict
from edge.datapath.bpf_error import BpfError, Step
from edge.datapath.bpf_map import BpfMap
from edge.datapath.forwarder import Forwarder
from edge.datapath.libbpf import call
from edge.datapath.loading import LoadedForwarder, unload
from edge.datapath.pinned import map_path
from edge.datapath.xdp import Program
from edge.show import offline
from edge.show.why import frame, parse_flow
from tests.datapath import kernel
from tests.datapath import world as w
from tests.datapath.conftest import Pair
from tests.datapath.rig import need_programs

pytestmark = pytest.mark.kernel
FAIRHOP = Path(sys.executable).with_name("fairhop")
FILE = Path(__file__).parents[2] / "docs" / "fairhop.yaml"
WEB = "    vips: [203.0.113.10, '2001:db8:1::10']\n    protocol: tcp\n    port: 80\n"
FLOW = ("198.51.100.7:40000", "203.0.113.10:80/tcp")
HOP = "lo=02:00:00:00:00:02"


def fairhop(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([FAIRHOP, *words], capture_output=True, text=True, check=False)


def loaded(pin: Path, *more: str, file: Path = FILE) -> dict[str, Any]:
    done = fairhop("forwarder", "load", "--config", file, "--pin", pin, "--json", *more)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def program(pin: Path) -> Program:
    return Program(call(Step.PIN, "open the program", "bpf_obj_get", str(pin / "program").encode()))


@pytest.fixture(scope="module")
def pins() -> Iterator[Path]:
    need_programs()
    with kernel.bpffs() as mounted:
        yield mounted


def test_a_pinned_program_answers_as_the_file_says_and_is_attached_to_nothing(pins: Path) -> None:
    told = loaded(pins / "a", "--next-hop", HOP)
    assert told["waiting"] == {}
    assert told["missing"] == ["eth1", "eth2"]
    assert told["blocked"] == 3
    assert {Path(place) for place in told["pinned"]} == set((pins / "a").iterdir())
    with program(pins / "a") as held:
        verdict, out = held.test_run(frame(parse_flow(*FLOW)))
        assert verdict == Verdict.TX
        assert out[:12] == bytes.fromhex("020000000002020000000001")
        assert held.test_run(frame(parse_flow(FLOW[0], "203.0.113.10:81/tcp")))[0] == Verdict.DROP
    answer = json.loads(fairhop("why", *FLOW, "--config", FILE, "--json").stdout)
    assert ".".join(map(str, out[30:34])) == answer["program"]["address"] == answer["oracle"]["address"]
    with BpfMap.open_pinned(map_path(pins / "a", abi.TOTALS)) as totals:
        rx = sum(int.from_bytes(value[:8], "little") for value in totals.lookup_percpu(bytes(4)))
    assert rx == 2
    assert fairhop("forwarder", "unload", "--pin", pins / "a").stdout == f"unloaded {pins}/a\n"
    assert not (pins / "a").exists()
    assert fairhop("forwarder", "unload", "--pin", pins / "a").stdout == f"nothing is loaded in {pins}/a\n"


def test_a_second_load_takes_the_place_of_the_first(pins: Path, tmp_path: Path) -> None:
    loaded(pins / "b", "--next-hop", HOP)
    with program(pins / "b") as first:
        before = first.id
    file = tmp_path / "f.yaml"
    text = FILE.read_text()
    assert WEB in text
    text = text.replace(WEB, WEB.replace("port: 80", "port: 8080"))
    file.write_text(text.replace("dry_run: true", "dry_run: false"))
    (tmp_path / "blocked.txt").write_text("192.0.2.0/24\n")
    loaded(pins / "b", "--next-hop", HOP, file=file)
    with program(pins / "b") as second:
        assert second.id != before
        assert second.test_run(frame(parse_flow(*FLOW)))[0] == Verdict.DROP
        assert second.test_run(frame(parse_flow(FLOW[0], "203.0.113.10:8080/tcp")))[0] == Verdict.TX
        assert second.test_run(frame(parse_flow("192.0.2.7:1", "203.0.113.10:8080/tcp")))[0] == Verdict.DROP
    unload(pins / "b")


def test_backends_that_the_kernel_does_not_reach_are_named_and_their_packets_dropped(pair: Pair, pins: Path) -> None:
    with pair.edge.inside():
        told = loaded(pins / "c")
        assert set(told["waiting"]) == {"web/a-b1", "web/a-b2", "echo/a-b1", "echo/a-b2", "h3/a-b1", "h3/a-b3"}
        assert set(told["waiting"].values()) == {"no route to it, or the route refuses"}
        with program(pins / "c") as held:
            assert held.test_run(frame(parse_flow(*FLOW)))[0] == Verdict.DROP
    unload(pins / "c")


def test_next_hops_are_those_that_the_kernel_knows(pair: Pair, pins: Path) -> None:
    pair.edge.ip("address", "add", "10.0.5.1/24", "dev", "e0")
    pair.edge.ip("neigh", "add", "10.0.5.9", "lladdr", "02:00:00:00:00:99", "nud", "permanent", "dev", "e0")
    for backend in ("10.0.9.1", "10.0.10.1"):
        pair.edge.ip("route", "add", backend, "via", "10.0.5.9")
    with pair.edge.inside():
        told = loaded(pins / "d")
        assert set(told["waiting"]) == {"h3/a-b3"}
        with program(pins / "d") as held:
            verdict, out = held.test_run(frame(parse_flow(*FLOW)))
    assert (verdict, out[:6].hex()) == (Verdict.REDIRECT, "020000000099")
    unload(pins / "d")


@pytest.mark.parametrize("hop", ["lo", "lo=02:00", "lo:02:00:00:00:00:02"])
def test_a_next_hop_that_is_none_is_refused(pins: Path, hop: str) -> None:
    done = fairhop("forwarder", "load", "--config", FILE, "--pin", pins / "e", "--next-hop", hop)
    assert (done.returncode, done.stderr) == (
        2,
        f"fairhop: '{hop}': expected IFACE=MAC, such as eth1=02:00:00:00:00:02\n",
    )
    assert not (pins / "e").exists()


def test_a_directory_on_no_bpffs_is_refused_with_the_line_that_mounts_one(tmp_path: Path) -> None:
    done = fairhop("forwarder", "load", "--config", FILE, "--pin", tmp_path / "x", "--next-hop", HOP)
    assert done.returncode == 1
    assert "is not on a BPF file system" in done.stderr
    assert f"mount -t bpf bpf {tmp_path}" in done.stderr


def test_a_forwarder_on_interfaces_is_neither_replaced_nor_unloaded(pair: Pair, pins: Path) -> None:
    with pair.edge.inside(), Forwarder.open(pins / "f", ["e0"], table_size=w.TABLE_SIZE) as live:
        with LoadedForwarder(w.STATE, w.INTERFACES) as held, pytest.raises(BpfError, match="another process drives it"):
            held.pin(pins / "f")
        live.close()
        with (
            LoadedForwarder(w.STATE, w.INTERFACES) as held,
            pytest.raises(BpfError, match="a forwarder that is attached to e0 is pinned there"),
        ):
            held.pin(pins / "f")
        with pytest.raises(BpfError, match="attached to e0"):
            unload(pins / "f")
        with Forwarder.open(pins / "f", ["e0"], table_size=w.TABLE_SIZE) as again:
            again.detach()


def test_what_somebody_else_pinned_is_not_removed(pins: Path) -> None:
    with LoadedForwarder(w.STATE, w.INTERFACES) as held:
        held.pin(pins / "g")
    (pins / "g" / "theirs").mkdir()
    with pytest.raises(BpfError, match="theirs is none of its pins"):
        unload(pins / "g")
    (pins / "g" / "theirs").rmdir()
    assert unload(pins / "g")


def test_why_asks_program_and_oracle_about_the_same_file(pins: Path) -> None:
    config = load(FILE.read_text(), str(FILE))
    for flow in (FLOW, ("[2001:db8::7]:40000", "[2001:db8:1::10]:80/tcp"), (FLOW[0], "203.0.113.200:9/tcp")):
        question = offline.ask(config, None, parse_flow(*flow))
        with LoadedForwarder(question.state, offline.INTERFACES) as held:
            trace = held.run(question.packet)
        assert (trace.verdict, trace.reason, trace.frame) == (Verdict.TX, Reason.NONE, question.outcome.frame)
    done = fairhop("why", *FLOW, "--config", FILE)
    assert done.stdout.endswith("in gre (program and oracle agree)\n")


def test_without_privilege_the_oracle_answers_alone_and_says_why() -> None:
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", FAIRHOP, "why", *FLOW, "--config", FILE, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["program"], answer["agree"]) == (0, None, None)
    assert answer["oracle"]["verdict"] == "tx"
    assert "This process lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON" in answer["unasked"]
