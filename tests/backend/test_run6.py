"""`fairhop backend` with both families: every tunnel it is told to take, over IPv4 and IPv6, answered from the VIP."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from edge.datapath import xdp
from edge.datapath.bpf_object import BpfObject
from edge.datapath.headers import read_link
from edge.datapath.outcome import DroppedError, PassedError
from tests.datapath import kernel
from tests.datapath.frames import scapy
from tests.datapath.kernel import Namespace
from tests.datapath.rig import OBJECTS, need_programs

pytestmark = pytest.mark.kernel
BACKEND = [sys.executable, "-c", "from edge.cli.backend import backend; backend()"]
CLIENTS = {4: "198.51.100.9", 6: "2001:db8:f::9"}
OUTER = {4: ("10.0.5.1", "10.0.1.1"), 6: ("fd00:5::77", "fd00:1::1")}
VIPS = ["203.0.113.11", "203.0.113.200", "2001:db8:1::11", "2001:db8:2::4711"]
YAML = """\
version: 1
name: b1
interface: b0
address: [10.0.1.1, 'fd00:1::1']
vips: [203.0.113.11, 203.0.113.128/25, '2001:db8:1::11', '2001:db8:2::/64']
edges: [10.0.5.1/32, 'fd00:5::/64']
key: 77
pin: {pin}
echo: {{port: 7000}}
"""


def inner(vip: str, number: int) -> Any:
    client = CLIENTS[ip_address(vip).version]
    asked = scapy().UDP(sport=40000, dport=7000) / (b"%08d" % number)
    if ":" in vip:
        return scapy("scapy.layers.inet6").IPv6(src=client, dst=vip) / asked
    return scapy().IP(src=client, dst=vip) / asked


def tunnel(packet: Any, version: int, *, gre: bool, key: int | None = 77, source: str | None = None) -> bytes:
    """`packet` in a tunnel over IPv4 or IPv6, from an edge unless `source` is given, without Ethernet."""
    near, own = OUTER[version]
    kind = 0x0800 if packet.version == 4 else 0x86DD
    fields = {"key_present": 1, "key": key} if key is not None else {}
    body = scapy("scapy.layers.l2").GRE(proto=kind, **fields) / packet if gre else packet
    protocol = 47 if gre else 4 if packet.version == 4 else 41
    if version == 4:
        return bytes(scapy().IP(src=source or near, dst=own, flags="DF", proto=protocol) / body)
    return bytes(scapy("scapy.layers.inet6").IPv6(src=source or near, dst=own, nh=protocol) / body)


class Segment:
    """A backend on b0 behind its router on r0, both families; `ask` sends a tunnel and gives the answer."""

    def __init__(self, backend: Namespace, router: Namespace, raw: socket.socket) -> None:
        self._raw = raw
        with router.inside():
            self._far = xdp.mac_address("r0")
        with backend.inside():
            self._near = xdp.mac_address("b0")

    def ask(self, packet: bytes, limit: float) -> tuple[str, bytes] | None:
        """(source address, payload) of the answer to the client; None when none comes."""
        kind = b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd"
        self._raw.send(self._near + self._far + kind + packet)
        until = time.monotonic() + limit
        while (remaining := until - time.monotonic()) > 0:
            self._raw.settimeout(remaining)
            try:
                frame, address = self._raw.recvfrom(2048)
                _, ip = read_link(frame)
            except TimeoutError:
                return None
            except (DroppedError, PassedError):
                continue
            if address[2] != socket.PACKET_OUTGOING and ip.protocol == 17 and str(ip.destination) in CLIENTS.values():
                return str(ip.source), ip.payload[8:]
        return None


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segment]:
    need_programs()
    made: list[Namespace] = []
    config = tmp_path_factory.mktemp("backend") / "backend.yaml"
    with kernel.bpffs() as pins:
        try:
            for _ in range(2):
                made.append(Namespace())
                with made[-1].inside():
                    for name in ("disable_ipv6", "accept_dad"):
                        Path(f"/proc/sys/net/ipv6/conf/default/{name}").write_text("0")
            backend, router = made
            kernel.veth(backend, "b0", router, "r0")
            for node, name, last in ((backend, "b0", 1), (router, "r0", 0)):
                node.ip("address", "add", f"10.0.1.{last}/31", "dev", name)
                node.ip("address", "add", f"fd00:1::{last or 2}/64", "dev", name, "nodad")
            backend.ip("route", "add", "default", "via", "10.0.1.0")
            backend.ip("-6", "route", "add", "default", "via", "fd00:1::2")
            with BpfObject(OBJECTS / "pass.bpf.o") as opened, router.inside():
                opened.load("pass")
                with opened.program("pass") as program:
                    xdp.attach(program, "r0")
            config.write_text(YAML.format(pin=pins / "backend"))
            with (
                backend.inside(),
                subprocess.Popen([*BACKEND, "--config", str(config)], stderr=subprocess.PIPE, text=True) as running,
            ):
                assert running.stderr is not None
                try:
                    said: list[str] = []
                    while not any("echo on port" in line for line in said):
                        said.append(running.stderr.readline())
                        assert said[-1], said
                    with kernel.packet_socket(router, "r0") as raw:
                        yield Segment(backend, router, raw)
                finally:
                    running.kill()
        finally:
            for namespace in made:
                namespace.delete()


@pytest.mark.parametrize("vip", VIPS)
@pytest.mark.parametrize("gre", [True, False], ids=["gre", "ipip"])
@pytest.mark.parametrize("version", [4, 6])
def test_a_question_in_a_tunnel_is_answered_from_the_vip(segment: Segment, version: int, gre: bool, vip: str) -> None:
    assert segment.ask(tunnel(inner(vip, 1), version, gre=gre), 2) == (vip, b"b1 %08d\n" % 1)


@pytest.mark.parametrize("version", [4, 6])
def test_another_key_another_source_or_another_vip_gets_no_answer(segment: Segment, version: int) -> None:
    other = {4: "10.0.6.1", 6: "fd00:6::1"}[version]
    for refused in (
        tunnel(inner(VIPS[2], 2), version, gre=True, key=78),
        tunnel(inner(VIPS[2], 2), version, gre=True, key=None),
        tunnel(inner(VIPS[2], 2), version, gre=True, source=other),
        tunnel(inner("2001:db8:3::1", 2), version, gre=True),
    ):
        assert segment.ask(refused, 0.2) is None
    assert segment.ask(tunnel(inner(VIPS[2], 3), version, gre=True), 2) == (VIPS[2], b"b1 %08d\n" % 3)
