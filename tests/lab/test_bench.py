"""The bench: what it computes, that it refuses to measure the wrong thing, and that a quick run has real numbers."""

import json
import os
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from edge import maglev
from edge.datapath.abi import Verdict
from edge.datapath.bpf import build
from edge.datapath.model import Service
from edge.native import maglev as native
from lab.bench import builds, cases, packets, scale, world
from lab.bench.figures import Figure
from lab.bench.figures import Verdict as Judged
from lab.bench.harness import DRIVER, BenchError, Driver, Subject
from lab.cli.bench import bench
from tests.datapath.rig import need_programs

QUICK = packets.Amount(rounds=5, repeat=200_000)

_NUMBER = {"type": "number"}
_FIGURE = {
    "type": "object",
    "properties": {"median": _NUMBER, "min": _NUMBER, "max": _NUMBER, "unit": {"enum": ["ns", "ms", "%", "Mpps"]}},
    "required": ["median", "min", "max", "unit"],
    "additionalProperties": False,
}
_POSITIVE = {**_FIGURE, "properties": {**_FIGURE["properties"], "min": {"exclusiveMinimum": 0}}}  # type: ignore[dict-item]


def _rows(least: int, **properties: object) -> dict[str, object]:
    return {
        "type": "array",
        "minItems": least,
        "items": {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        },
    }


_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 1}
SCHEMA = {
    "type": "object",
    "required": ["schema_version", "quick", "machine", "packets", "scale", "tables", "generations", "veth", "verdicts"],
    "properties": {
        "schema_version": {"const": 1},
        "machine": {"type": "object", "properties": {"kernel": _TEXT, "cpu": _TEXT}, "required": ["kernel", "cpu"]},
        "packets": _rows(18, case=_TEXT, flows=_TEXT, net=_FIGURE, plain=_FIGURE, driver=_POSITIVE,
                         most={"type": ["number", "null"]}),
        "scale": _rows(6, services=_COUNT, backends=_COUNT, net=_FIGURE, more=_FIGURE),
        "tables": _rows(3, members=_COUNT, size=_COUNT, native=_POSITIVE, python=_POSITIVE),
        "generations": {"type": "object", "minProperties": 4, "additionalProperties": _POSITIVE},
        "veth": _rows(4, program=_TEXT, what=_TEXT, figure=_POSITIVE),
        "verdicts": _rows(10, name=_TEXT, figure=_FIGURE, bound=_NUMBER, at_least={"type": "boolean"},
                          passed={"type": "boolean"}),
    },
}  # fmt: skip


def quiet(_: str) -> None:
    pass


def test_a_figure_is_the_median_between_its_extremes() -> None:
    assert Figure.of([3.0, 1.0, 20.0]) == Figure(3.0, 1.0, 20.0, "ns")


@pytest.mark.parametrize(("value", "at_least", "passed"), [(35, False, True), (35.1, False, False),
                                                          (35, True, True), (34.9, True, False)])  # fmt: skip
def test_the_median_decides(value: float, at_least: bool, passed: bool) -> None:
    judged = Judged("tcp4", Figure(value, 1, 99), 35, at_least)
    assert judged.passed is passed
    assert str(judged).startswith("[PASS] tcp4: " if passed else "[FAIL] tcp4: ")
    assert judged.to_json()["passed"] is passed


def test_the_world_spreads_services_over_the_vips_as_the_driver_does() -> None:
    state = world.state(world.Scale(services=4000, backends=3))
    tcp = {(_number(s) - int(world.VIP), s.port - world.FIRST_PORT) for s in state.services[:-2]}
    assert tcp == {(number & 255, number >> 8) for number in range(4000)}
    assert set(state.pools[0].slots) == {1, 2, 3}


@pytest.fixture(scope="module")
def compiled() -> None:
    need_programs()
    build.build(DRIVER.parent)


@pytest.mark.kernel
@pytest.mark.calm
@pytest.mark.usefixtures("compiled")
def test_every_case_is_measured_beside_the_floor_and_an_empty_program() -> None:
    rows = packets.measure(QUICK, quiet)
    assert {row.case for row in rows} == {case.name for case in cases.CASES} | {
        "no-op",
        "floor: bare encapsulation",
    }
    for row in rows:
        assert 1 < row.driver.min <= row.driver.median <= row.driver.max
        assert row.net.min <= row.net.median <= row.net.max < 100_000
        assert row.net.median > 0 or row.case not in {case.name for case in cases.CASES}


@pytest.mark.kernel
@pytest.mark.usefixtures("compiled")
def test_a_case_that_meets_another_fate_is_not_measured() -> None:
    tcp4 = cases.CASES[0]
    wrong = replace(tcp4, verdict=Verdict.PASS)
    with pytest.raises(BenchError, match=r"tcp4: the last verdict is 3, expected 2, and 0 packets were counted"):
        packets.measure(QUICK, quiet, [wrong])


@pytest.mark.kernel
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: str(case.name))
def test_the_driver_walks_the_flows_and_keeps_the_checksum(case: cases.Case) -> None:
    """The frame after 1, 2, ... packets through the program that is empty is the case's with another flow in it."""
    seen = set()
    for repeat in range(1, 20):
        with Driver(case, cases.ALL) as driver:
            driver.run(driver.own["nothing"], repeat)
            frame = driver.frame
        flow = (frame[case.port_at : case.port_at + 2], frame[case.address_at : case.address_at + 2])
        seen.add(flow)
        assert [at for at in range(len(frame)) if frame[at] != case.frame[at]] != []
        untouched = bytearray(frame)
        for at in filter(None, (case.port_at, case.address_at, case.checksum_at)):
            untouched[at : at + 2] = case.frame[at : at + 2]
        assert bytes(untouched) == case.frame
        assert _header_sum(frame, case) == _header_sum(case.frame, case)
    assert len(seen) == 19


@pytest.mark.kernel
@pytest.mark.usefixtures("compiled")
def test_packets_are_spread_over_all_services() -> None:
    scale = world.Scale(services=100)
    with Subject(world.state(scale)) as subject, Driver(cases.SPREAD, cases.ALL, scale.services) as driver:
        ran = driver.run(subject.program, 10_000)
        assert ran.verdict == Verdict.TX
        sent = subject.sent_by_service(range(1, scale.services + 3))
    assert sum(sent.values()) == 10_000
    assert sent[101] == sent[102] == 0  # UDP, IPv6
    assert all(50 < sent[number] < 200 for number in range(1, 101))


@pytest.mark.kernel
@pytest.mark.usefixtures("compiled")
def test_a_quick_run_measures_everything_and_writes_figures_and_a_picture(tmp_path: Path) -> None:
    file, picture = tmp_path / "build" / "bench.json", tmp_path / "build" / "bench.svg"
    here = {kind: Path(f"/proc/self/ns/{kind}").readlink() for kind in ("net", "mnt")}
    cpus = os.sched_getaffinity(0)
    done = CliRunner().invoke(bench, ["--quick", "--json", str(file), "--plot", str(picture)])
    assert done.exit_code == 0, done.output
    facts = json.loads(file.read_text())
    jsonschema.validate(facts, SCHEMA)
    assert facts["quick"] is True
    judged = [line for line in done.output.splitlines() if line.startswith(("[PASS] ", "[FAIL] "))]
    assert len(judged) == len(facts["verdicts"]) == 10
    for verdict in facts["verdicts"]:
        median, bound = verdict["figure"]["median"], verdict["bound"]
        assert verdict["passed"] is (median >= bound if verdict["at_least"] else median <= bound)
    assert {(rate["program"], rate["what"]) for rate in facts["veth"]} == {
        (program, what) for program in ("forward", "bare") for what in ("core", "path")
    }
    drawn = picture.read_text()
    assert drawn.count("<!-- tcp4, ") == len(cases.FLOWS)
    assert here == {kind: Path(f"/proc/self/ns/{kind}").readlink() for kind in ("net", "mnt")}
    assert os.sched_getaffinity(0) == cpus


@pytest.mark.kernel
@pytest.mark.usefixtures("compiled")
def test_a_part_can_be_measured_alone_and_a_missed_target_is_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--quick", "--only", "tables", "--enforce"]
    for bound, code in ((1e9, 0), (0, 1)):
        monkeypatch.setattr(builds, "MOST", bound)
        done = CliRunner().invoke(bench, options)
        assert done.exit_code == code
        assert "tcp4" not in done.stdout
        assert f"[{'FAIL' if code else 'PASS'}] lookup_table of 65537 slots for 1000: " in done.stdout


def test_tables_that_differ_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "build", lambda members, size: maglev.build(members[1:], size))
    with pytest.raises(BenchError, match="the tables of 10 members and 251 slots differ between C and Python"):
        builds.measure(1, quiet, (251,))


@pytest.mark.kernel
@pytest.mark.usefixtures("compiled")
def test_scale_is_told_against_the_smallest() -> None:
    base, grown = scale.measure(QUICK, quiet, (world.Scale(4000, 4000),))
    assert (base.scale, grown.scale) == (scale.BASE, world.Scale(4000, 4000))
    assert base.more == Figure(0, 0, 0, "%")
    assert grown.net.median > 0


def _number(service: Service) -> int:
    assert isinstance(service.vip, IPv4Address)
    return int(service.vip)


def _header_sum(frame: bytes, case: cases.Case) -> int:
    """The ones' complement sum of the IPv4 header that the flow's address is in; 0 where there is none."""
    if not case.checksum_at:
        return 0
    start = case.checksum_at - 10
    return sum(int.from_bytes(frame[at : at + 2], "big") for at in range(start, start + 20, 2)) % 0xFFFF
