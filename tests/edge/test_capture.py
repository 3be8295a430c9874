"""What `fairhop capture` says of packets, and the command itself on a loaded forwarder."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from scapy.utils import PcapNgReader

from edge.config.file import load
from edge.datapath import abi, oracle
from edge.datapath.abi import Reason, Verdict
from edge.datapath.bpf_map import BpfMap
from edge.datapath.loading import LoadedForwarder, unload
from edge.datapath.pinned import map_path
from edge.datapath.trace import Event, Wanted, lease_end
from edge.datapath.tracing import Tracer
from edge.show import capture
from tests.datapath import frames, kernel
from tests.datapath import world as w
from tests.datapath.rig import need_programs
from tests.edge.test_config_rules import FULL

WALL = 1_700_000_000_123_456_789
NESTED = "drop nested 198.51.100.7 > 203.0.113.10/ipip"
FAIRHOP = Path(sys.executable).with_name("fairhop")


def told(frame: bytes, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What is told of a frame that the forwarder met in the world of the packet tests."""
    outcome = oracle.judge(frame, w.LOOPBACK, w.STATE, w.INTERFACES)
    event = Event(1, 3, outcome.verdict, outcome.reason, len(outcome.frame), outcome.frame)
    return capture.facts(event, "eth1", WALL, {ip_address(address): name for address, name in (names or {}).items()})


def five_tuple(facts: dict[str, Any]) -> tuple[str, int, str, int, str]:
    keys = ("source", "source_port", "destination", "destination_port", "protocol")
    return tuple(facts[key] for key in keys)


@pytest.mark.parametrize(
    ("vip", "port", "backends"),
    [
        (w.WEB, 80, {"10.0.9.1", "10.0.9.2", "10.0.9.3"}),  # GRE
        (w.ECHO, 7000, {"10.0.9.1", "10.0.9.2"}),  # IPIP
        (w.SIX, 80, {"2001:db8:9::1", "2001:db8:9::2"}),  # GRE over IPv6
        (w.KEYED, 80, {"10.0.9.12", "2001:db8:9::13"}),  # GRE with a key
        (w.BEHIND_TAG, 80, {"10.0.9.14"}),  # behind an 802.1Q tag
        (w.ECHO6, 7000, {"10.0.9.1", "10.0.9.2"}),  # 6in4
        (w.SIX6, 80, {"2001:db8:9::1", "2001:db8:9::2"}),
        (w.FAR6, 80, {"10.0.9.7"}),  # redirected
    ],
)
def test_a_forwarded_packet_is_told_by_the_client_s_own_and_the_tunnel_by_its_end(
    vip: str, port: int, backends: set[str]
) -> None:
    facts = told(frames.tcp(vip, port))
    client = w.CLIENT6 if ":" in vip else w.CLIENT
    assert five_tuple(facts) == (client, 40000, vip, port, "tcp")
    assert facts["backend"] in backends
    assert facts["verdict"] in ("tx", "redirect")


def test_a_line_has_time_interface_verdict_flow_and_backend() -> None:
    facts = told(frames.tcp(), {"10.0.9.1": "web/w1", "10.0.9.2": "web/w2", "10.0.9.3": "web/w3"})
    name = f"web/w{facts['backend'][-1]}"
    assert capture.line(facts) == (
        f"2023-11-14T22:13:20.123456789Z eth1 tx 198.51.100.7:40000 > 203.0.113.10:80/tcp -> "
        f"{facts['backend']} ({name})"
    )


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (frames.udp(dport=9), "drop no_service 198.51.100.7:40000 > 203.0.113.11:9/udp"),
        (frames.tcp(w.WEB6, 81), "drop no_service [2001:db8:c::7]:40000 > [2001:db8:10::10]:81/tcp"),
        (frames.echo(), "tx 203.0.113.10 > 198.51.100.7/icmp"),
        (frames.tcp(w.FREE), "pass 198.51.100.7:40000 > 203.0.113.99:80/tcp"),
        (frames.ether(bytes(40), kind=0x88B5), "pass no IP, 54 bytes"),
        (frames.ether(b"\x45" + bytes(9)), "drop trunc no IP, 24 bytes"),
        (frames.tcp(ip={"frag": 3}), "drop frag 198.51.100.7 > 203.0.113.10/tcp"),
        (frames.tcp(ip={"proto": 47}), "drop nested 198.51.100.7 > 203.0.113.10/gre"),
        (frames.ether(frames.packet(w.WEB, frames.scapy().IP(bytes(frames.tcp()[14:])))), NESTED),
        (frames.tcp(ip={"proto": 132}), "drop proto 198.51.100.7 > 203.0.113.10/132"),
    ],
)
def test_what_is_not_forwarded_is_told_as_it_is(frame: bytes, words: str) -> None:
    facts = told(frame)
    assert capture.line(facts).removeprefix("2023-11-14T22:13:20.123456789Z eth1 ") == words
    assert facts["backend"] is None


@pytest.mark.parametrize("length", range(90))
def test_a_packet_of_which_little_was_kept_is_told_as_far_as_it_goes(length: int) -> None:
    whole = oracle.judge(frames.tcp(), w.LOOPBACK, w.STATE, w.INTERFACES).frame
    facts = capture.facts(Event(1, 3, Verdict.TX, Reason.NONE, len(whole), whole[:length]), "eth1", WALL, {})
    assert facts["length"] == len(whole)
    assert (facts["backend"] is not None) == (length >= 14 + 20 + 4 + 20)
    assert (facts["destination_port"] == 80) == (length >= 14 + 20 + 4 + 20 + 4)
    assert capture.line(facts)


def test_names_are_those_of_the_configuration_and_one_address_may_have_several() -> None:
    names = capture.names_of(load(FULL, "f.yaml"))
    assert names[ip_address("10.0.9.1")].split(",")[0].endswith("/b1")
    assert all(ip_address("10.0.9.1").version in (4, 6) and "/" in name for name in names.values())


@pytest.fixture(scope="module")
def pins() -> Iterator[Path]:
    need_programs()
    with kernel.bpffs() as mounted:
        yield mounted / "fairhop"


@pytest.fixture(scope="module")
def loaded(pins: Path) -> Iterator[LoadedForwarder]:
    with LoadedForwarder(w.STATE, w.INTERFACES) as held:
        held.pin(pins)
        yield held
    unload(pins)


@contextmanager
def capturing(pins: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A capture that has begun."""
    command = [str(FAIRHOP), "capture", "--pin", str(pins), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            await_asked(process, pins)
            yield process
        finally:
            process.kill()


def await_asked(process: "subprocess.Popen[str]", pins: Path) -> None:
    deadline = time.monotonic() + 20
    while not asked(pins):
        assert process.poll() is None and time.monotonic() < deadline, process.stderr and process.stderr.read()
        time.sleep(0.01)


def asked(pins: Path) -> bool:
    with BpfMap.open_pinned(map_path(pins, abi.TRACE_CONTROL)) as control:
        return lease_end(control.lookup(bytes(4))) > time.monotonic_ns()


@pytest.mark.kernel
def test_the_command_prints_packets_and_writes_them_in_their_tunnels(
    loaded: LoadedForwarder, pins: Path, tmp_path: Path
) -> None:
    file = tmp_path / "seen.pcapng"
    began = time.time()
    with capturing(pins, "--json", "--count", "2", "--write", str(file)) as process:
        sent = loaded.run(frames.tcp())
        loaded.run(frames.tcp(dport=81))
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "2 packet(s)\n")
    first, second = map(json.loads, out.splitlines())
    assert (first["interface"], first["verdict"], first["reason"]) == ("lo", "tx", "none")
    assert five_tuple(first) == (w.CLIENT, 40000, w.WEB, 80, "tcp")
    assert (second["verdict"], second["reason"], second["destination_port"]) == ("drop", "no_service", 81)
    with PcapNgReader(str(file)) as reader:
        packets = reader.read_all()
    assert [bytes(packet) for packet in packets] == [sent.frame, frames.tcp(dport=81)]
    assert [packet.comment for packet in packets] == [b"tx none", b"drop no_service"]
    assert {packet.sniffed_on for packet in packets} == {"lo"}
    assert all(began - 1 < packet.time < time.time() + 1 for packet in packets)
    assert not asked(pins)


@pytest.mark.kernel
def test_an_interrupt_ends_it_well_and_a_choice_is_kept(loaded: LoadedForwarder, pins: Path, tmp_path: Path) -> None:
    file = tmp_path / "seen.pcapng"
    options = ("--reason", "martian", "--quiet", "--write", str(file))
    with capturing(pins, *options) as process:
        loaded.run(frames.tcp())
        loaded.run(frames.tcp(ip={"src": "127.0.0.1"}))
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "1 packet(s)\n")
    with PcapNgReader(str(file)) as reader:
        assert [packet.comment for packet in reader.read_all()] == [b"drop martian"]


@pytest.mark.kernel
def test_a_capture_killed_hard_asks_for_nothing_any_more_after_its_lease(loaded: LoadedForwarder, pins: Path) -> None:
    with capturing(pins) as process:
        process.kill()
        process.wait()
        assert asked(pins)
        deadline = time.monotonic() + 3.5
        while asked(pins):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.kernel
def test_a_file_on_standard_output_has_nothing_else_in_it(loaded: LoadedForwarder, pins: Path) -> None:
    with capturing(pins, "--write", "-", "--count", "1") as process:
        loaded.run(frames.tcp(dport=81))
        assert process.stdout is not None
        out = process.stdout.buffer.read()  # type: ignore[attr-defined]
    with PcapNgReader(io.BytesIO(out)) as reader:
        assert [bytes(packet) for packet in reader.read_all()] == [frames.tcp(dport=81)]
    assert b"203.0.113.10" not in out


@pytest.mark.kernel
def test_a_file_without_packets_is_one_too_and_the_count_is_said_last(
    loaded: LoadedForwarder, pins: Path, tmp_path: Path
) -> None:
    file = tmp_path / "empty.pcapng"
    command = [str(FAIRHOP), "capture", "--pin", str(pins)]
    done = subprocess.run(
        [*command, "--seconds", "0.2", "--write", str(file)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "0 packet(s)\n")
    with PcapNgReader(str(file)) as reader:
        assert reader.read_all().res == []
    if shutil.which("tcpdump"):
        subprocess.run(["tcpdump", "-r", file], capture_output=True, check=True)
    assert b"lo\0\0" in file.read_bytes()
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [*command, "--count", "1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=buffered
    ) as process:
        await_asked(process, pins)
        loaded.run(frames.tcp())
        assert process.communicate(timeout=20)[0].splitlines()[1:] == ["1 packet(s)"]


@pytest.mark.kernel
def test_a_second_capture_ends_with_5_and_no_forwarder_with_3(loaded: LoadedForwarder, pins: Path) -> None:
    def refused(pin: Path, meanwhile: Callable[[], object]) -> tuple[int, str]:
        command = [str(FAIRHOP), "capture", "--pin", str(pin), "--seconds", "1"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                meanwhile()
                time.sleep(0.05)
            return process.returncode, process.communicate()[1]

    with Tracer(pins) as tracer:
        tracer.start(Wanted())
        code, words = refused(pins, lambda: [*tracer.poll(0)])  # which renews the lease, however slow the other starts
    assert code == 5
    assert "another capture of" in words
    code, words = refused(pins / "nobody", lambda: None)
    assert code == 3
    assert "no forwarder is pinned here" in words
