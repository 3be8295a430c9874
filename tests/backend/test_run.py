"""`fairhop backend` as a process: tunnels in, answers out with the VIP, SIGTERM, and a restart under traffic."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from edge.datapath import xdp
from edge.datapath.bpf_object import BpfObject
from edge.datapath.xdp import Mode
from tests.datapath import frames, kernel
from tests.datapath.kernel import Namespace
from tests.datapath.rig import OBJECTS, need_programs

pytestmark = pytest.mark.kernel
VIP, EDGE, CLIENT = "203.0.113.11", "10.0.5.1", "198.51.100.9"
PORT, OTHER_PORT = 7000, 7001
BACKEND = [sys.executable, "-c", "from edge.cli.backend import backend; backend()"]
YAML = """\
version: 1
name: b1
interface: b0
address: 10.0.1.1
vips: [203.0.113.11]
edges: [10.0.5.1/32]
pin: {pin}
echo: {{port: 7000}}
"""


@dataclass
class Segment:
    """A backend (10.0.1.1 on b0) behind its router (10.0.1.0 on r0), which carries an XDP_PASS program."""

    backend: Namespace
    router: Namespace
    directory: Path
    pins: Path
    near: bytes
    far: bytes
    said: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def process(self) -> Iterator["subprocess.Popen[str]"]:
        """Run `fairhop backend` until it says that it echoes."""
        config = self.directory / "backend.yaml"
        config.write_text(YAML.format(pin=self.pins / "backend"))
        command = [*BACKEND, "--config", str(config)]
        with (
            self.backend.inside(),
            subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running,
        ):
            assert running.stderr is not None
            try:
                self.said.clear()
                while not any("echo on port" in line for line in self.said):
                    line = running.stderr.readline()
                    assert line, self.said
                    self.said.append(line.strip())
                yield running
            finally:
                running.kill()

    def datagram(self, number: int, vip: str = VIP, source: str = EDGE, port: int = PORT, *, gre: bool = True) -> bytes:
        """A frame as an edge sends it: outer header, and inside a datagram that asks for `number`."""
        asked = frames.scapy().UDP(sport=40000, dport=port) / (b"%08d" % number)
        inner = frames.packet(vip, asked, CLIENT)
        outer = frames.scapy().IP(src=source, dst="10.0.1.1", flags="DF", id=0, ttl=64)
        if gre:
            outer = outer / frames.scapy("scapy.layers.l2").GRE(proto=0x0800)
        else:
            outer.proto = 4
        return self.near + self.far + b"\x08\0" + bytes(outer / inner)


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    need_programs()
    made: list[Namespace] = []
    with kernel.bpffs() as pins:
        try:
            for _ in range(2):
                made.append(Namespace())
            backend, router = made
            kernel.veth(backend, "b0", router, "r0")
            backend.ip("address", "add", "10.0.1.1/31", "dev", "b0")
            router.ip("address", "add", "10.0.1.0/31", "dev", "r0")
            backend.ip("route", "add", "default", "via", "10.0.1.0")
            with BpfObject(OBJECTS / "pass.bpf.o") as opened, router.inside():
                opened.load("pass")
                with opened.program("pass") as program:
                    xdp.attach(program, "r0")
                far = xdp.mac_address("r0")
            with backend.inside():
                near = xdp.mac_address("b0")
            yield Segment(backend, router, tmp_path, pins, near, far)
        finally:
            for namespace in made:
                namespace.delete()


class Answers:
    """Reads the backend's UDP answers off the router's end."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw

    def next(self, limit: float = 1.0) -> tuple[str, bytes] | None:
        """(source address, payload) of the next answer to the client; None when none comes."""
        until = time.monotonic() + limit
        while (remaining := until - time.monotonic()) > 0:
            self._raw.settimeout(remaining)
            try:
                frame, address = self._raw.recvfrom(2048)
            except TimeoutError:
                return None
            incoming = address[2] != socket.PACKET_OUTGOING
            if incoming and frame[23:24] == b"\x11" and frame[30:34] == IPv4Address(CLIENT).packed:
                return str(IPv4Address(frame[26:30])), frame[42:]
        return None


def attached(segment: Segment) -> Mode | None:
    with segment.backend.inside():
        return xdp.query("b0").mode


def test_a_tunnelled_question_is_answered_from_the_vip_by_name(segment: Segment) -> None:
    with segment.process(), kernel.packet_socket(segment.router, "r0") as raw:
        answers = Answers(raw)
        assert attached(segment) is Mode.NATIVE
        for number, gre in ((1, True), (2, False)):
            raw.send(segment.datagram(number, gre=gre))
            assert answers.next() == (VIP, b"b1 %08d\n" % number)
        raw.send(segment.datagram(3, source="10.0.5.9"))
        raw.send(segment.datagram(4, vip="203.0.113.99"))
        assert answers.next(0.3) is None
        (route,) = json.loads(segment.backend.ip("-json", "route", "show", "default"))
        assert route["metrics"] == [{"advmss": 1420}]


def test_sigterm_ends_it_cleanly_and_leaves_the_decapsulator(segment: Segment) -> None:
    with segment.process() as running:
        running.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        assert "stopped; the decapsulator stays attached" in running.stderr.read()
        assert running.wait(5) == 0
    assert attached(segment) is Mode.NATIVE
    assert (segment.pins / "backend" / "link-b0").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_loses_no_tunnelled_packet(segment: Segment, number: signal.Signals) -> None:
    received: list[bytes] = []
    with segment.backend.inside():  # stands for an application that is not restarted with it
        application = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with application, kernel.packet_socket(segment.router, "r0") as raw:
        application.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        application.bind(("0.0.0.0", OTHER_PORT))
        frame, sent = segment.datagram(0, port=OTHER_PORT), 0

        def send(seconds: float) -> None:
            nonlocal sent
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                raw.send(frame)
                sent += 1
                time.sleep(0.0005)

        with segment.process() as first:
            send(0.2)
            first.send_signal(number)
            send(0.2)
            first.wait(5)
            send(0.2)
        with segment.process():
            assert any("native mode, adopted" in line for line in segment.said)
            send(0.2)
        application.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while True:
                received.append(application.recv(2048))
    assert sent > 100
    assert len(received) == sent


def test_a_host_that_cannot_serve_ends_it_with_the_reason(segment: Segment) -> None:
    segment.backend.ip("route", "delete", "default")
    with pytest.raises(AssertionError, match="no IPv4 default route"), segment.process():
        pass
    assert attached(segment) is None


def test_a_broken_file_ends_it_with_78_and_every_place(tmp_path: Path) -> None:
    config = tmp_path / "backend.yaml"
    config.write_text(YAML.format(pin="/x").replace("port: 7000", "port: 0") + "nonsense: 1\n")
    command = [*BACKEND, "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert f"{config}:8:14:" in done.stderr
    assert f"{config}:9:1:" in done.stderr
