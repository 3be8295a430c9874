"""The data path end to end, in both families: real TCP at full size, path MTU, and errors that find their flow."""

import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from lab.addressing import NodePlan, Role, ServicePlan
from lab.job.convergence import expected
from lab.observe.inside import inside
from lab.observe.taps import edge_taps
from lab.traffic.flow import TCP, Flow, IpAddress
from tests.lab import machine, raw
from tests.lab.running import EDGES, RunningLab, running_lab

pytestmark = machine.marks

SIZE = 20_000_000
NARROW = 1400
SITE_B = ("b-e1", "b-e2")
NARROWED = (("transit", "eth1"), ("transit", "eth2"), ("a-r1", "eth1"), ("a-r2", "eth1"))
MADE = f"seq 1 4000000 | head -c {SIZE}"
FLOWS = 4000

# Sends SIZE bytes in lines through the echo service and compares every line that comes back, on one connection. Prints
# the backend's name, the bytes, and the path MTU that the connection has found (IP_MTU, IPV6_MTU).
ECHO = f"""
import socket, sys, threading
lines = [f"{{number:07d}} {{'x' * 991}}\\n".encode() for number in range({SIZE} // 1000)]
sock = socket.create_connection((sys.argv[1], 7000), timeout=20)
threading.Thread(target=lambda: [sock.sendall(line) for line in lines], daemon=True).start()
answers = sock.makefile("rb")
name = b""
for number, line in enumerate(lines):
    name, _, rest = answers.readline().partition(b" ")
    assert rest == line, (number, rest[:40])
print(name.decode(), len(lines) * 1000, sock.getsockopt(*((41, 24) if ":" in sys.argv[1] else (0, 14))))
"""

# Sends a datagram of 1500 bytes with DF and prints what the ICMP error says would fit: ee_info of the error queue.
# (What the socket then takes the path MTU to be is no proof: an IPv6 kernel may note it for the other of two ways.)
PROBE = """
import select, socket, struct, sys
six = ":" in sys.argv[1]
sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
level, discover, errors = (41, 23, 25) if six else (0, 10, 11)
sock.setsockopt(level, discover, 2)
sock.setsockopt(level, errors, 1)
sock.connect((sys.argv[1], 7000))
sock.send(bytes(1500 - (48 if six else 28)))
waiting = select.poll()
waiting.register(sock, 0)
assert waiting.poll(3000), "no error came"
_, ancillary, _, _ = sock.recvmsg(2000, 500, socket.MSG_ERRQUEUE)
print(struct.unpack_from("=IBBBBI", ancillary[0][2])[5])
"""


@dataclass(frozen=True)
class Family:
    """What differs between the tests' two runs: words of the tools, and what headers take, in bytes."""

    version: int
    header: int
    too_long: str
    on_the_way: str

    def vip(self, service: ServicePlan) -> IpAddress:
        """The service's VIP of this family."""
        vip = service.vip if self.version == 4 else service.vip6
        assert vip is not None, "the lab's description has no IPv6 VIP"
        return vip

    def client(self, node: NodePlan) -> IpAddress:
        """A client's own address."""
        return node.client_address if self.version == 4 else node.client_address6

    def url(self, service: ServicePlan, path: str) -> str:
        """An address of the web service."""
        vip = self.vip(service)
        return f"http://{vip if self.version == 4 else f'[{vip}]'}{path}"


FAMILIES = [
    Family(4, 20, "message too long, mtu={mtu}", "Frag needed and DF set (mtu = {mtu})"),
    Family(6, 40, "message too long, mtu: {mtu}", "Packet too big: mtu={mtu}"),
]


@pytest.fixture(params=FAMILIES, ids=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> Family:
    found: Family = request.param
    return found


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running_lab("fh-path") as running:
        for backend in running.plan.having(Role.BACKEND):
            running.shell(backend.name, f"mkdir -p /run/www; {MADE} > /run/www/made; chmod -R a+rX /run/www")
        yield running


@pytest.fixture
def narrow(lab: RunningLab) -> Iterator[RunningLab]:
    """Site B is drained, so that client-b comes through transit, and between transit and site A fit 1400 bytes."""
    for edge in SITE_B:
        lab.fairhop(edge, "drain", "node")
    lab.watch.wait_for(expected(lab.plan, EDGES - set(SITE_B)), 10.0)
    for node, interface in NARROWED:
        lab.shell(node, f"ip link set {interface} mtu {NARROW}")
    forget(lab)
    try:
        yield lab
    finally:
        for node, interface in NARROWED:
            lab.shell(node, f"ip link set {interface} mtu 1500")
        forget(lab)
        lab.undrain(*SITE_B)


def forget(lab: RunningLab) -> None:
    """Every end forgets the path MTUs that it has learned. In a node /proc/sys is read-only, hence from outside."""

    def flush() -> None:
        for family in ("ipv4", "ipv6"):
            Path(f"/proc/sys/net/{family}/route/flush").write_text("1\n")

    for node in (*lab.plan.having(Role.CLIENT), *lab.plan.having(Role.BACKEND)):
        inside(lab.runtime.netns(node.name), flush)


def service(lab: RunningLab, name: str) -> ServicePlan:
    return next(one for one in lab.plan.services if one.name == name)


def echo_20_megabytes(lab: RunningLab, family: Family, client: str) -> tuple[str, int]:
    """Which backend echoed them, and the path MTU towards the VIP as the client has found it."""
    argv = ["python3", "-c", ECHO, str(family.vip(service(lab, "echo")))]
    done = lab.runtime.exec(client, argv, timeout=60)
    assert done.returncode == 0, done.stderr
    name, sent, mtu = done.stdout.split()
    assert int(sent) == SIZE
    return name, int(mtu)


def web_20_megabytes(lab: RunningLab, family: Family, client: str) -> None:
    """Down and up; the sums and counts agree."""
    web = service(lab, "web")
    wanted = lab.shell(client, f"{MADE} | sha256sum")
    curl = "curl -gsS --fail -m 40"
    assert lab.shell(client, f"{curl} '{family.url(web, '/files/made')}' | sha256sum") == wanted
    up = f"{MADE} | {curl} -H Expect: --data-binary @- '{family.url(web, '/upload')}'"
    assert lab.shell(client, up) == f"{SIZE}\n"


def test_20_megabytes_go_both_ways_on_one_connection(lab: RunningLab, family: Family) -> None:
    name, mtu = echo_20_megabytes(lab, family, "client-a")
    assert name in {"a-b1", "a-b2", "a-b3"}
    assert mtu == 1500, "segments that fit the tunnel are the backend's offer, not the outcome of errors"


def test_20_megabytes_come_down_and_go_up_through_gre(lab: RunningLab, family: Family) -> None:
    web_20_megabytes(lab, family, "client-a")


def test_a_narrow_link_in_the_middle_is_found_and_nothing_stalls(narrow: RunningLab, family: Family) -> None:
    began = time.monotonic()
    backend, mtu = echo_20_megabytes(narrow, family, "client-b")
    web_20_megabytes(narrow, family, "client-b")
    assert time.monotonic() - began < 40
    assert backend.startswith("a-")
    assert mtu == NARROW, "the router before the link told the client"
    to_client = f"ip route get {family.client(narrow.plan.nodes['client-b'])}"
    assert f" mtu {NARROW}" in narrow.shell(backend, to_client), (
        "the router behind it told the VIP, an edge the backend"
    )


def ping(lab: RunningLab, node: str, family: Family, size: int) -> str:
    """What ping says about one echo request of `size` bytes, headers included, that must not be fragmented."""
    data = size - family.header - 8
    vip = family.vip(service(lab, "web"))
    done = lab.runtime.exec(node, ["ping", f"-{family.version}", "-M", "do", "-c1", "-W2", "-s", str(data), str(vip)])
    return done.stdout + done.stderr


def test_ping_is_answered_up_to_the_mtu_and_refused_above_it(lab: RunningLab, family: Family) -> None:
    assert " 1 received" in ping(lab, "client-a", family, 1500)
    assert family.too_long.format(mtu=1500) in ping(lab, "client-a", family, 1501)


def test_ping_tells_the_narrow_link_from_outside(narrow: RunningLab, family: Family) -> None:
    assert " 1 received" in ping(narrow, "client-b", family, NARROW)
    assert family.on_the_way.format(mtu=NARROW) in ping(narrow, "client-b", family, NARROW + 1)


def test_tracepath_finds_the_narrow_link(narrow: RunningLab, family: Family) -> None:
    vip = family.vip(service(narrow, "web"))
    said = narrow.shell("client-b", f"tracepath -{family.version} -n -m 4 {vip}")
    told = re.search(rf"^\s*3: +(\S+) .*pmtu {NARROW} *$", said, re.M)
    assert told, said
    transit = narrow.plan.nodes["transit"].interfaces
    assert told[1] in {str(i.address.ip if family.version == 4 else i.address6.ip) for i in transit}
    assert f"Resume: pmtu {NARROW}" in said


def test_a_datagram_too_big_for_the_tunnel_is_told_what_fits(lab: RunningLab, family: Family) -> None:
    forget(lab)
    done = lab.runtime.exec("client-a", ["python3", "-c", PROBE, str(family.vip(service(lab, "echo")))])
    assert done.stdout == "1480\n", done.stderr
    forget(lab)


@dataclass(frozen=True)
class Carried:
    """Where things went: client port -> backends that got it, and how many packets each edge was sent."""

    backends: dict[int, list[str]]
    edges: dict[str, int]


def carry(lab: RunningLab, vip: IpAddress, sender: str, packets: list[bytes], wanted: int) -> Carried:
    """Let a node send packets to a VIP, and hear where they arrive: site A's backends, and on the way its edges."""
    backends = [(b.name, lab.runtime.netns(b.name), "eth1") for b in lab.plan.having(Role.BACKEND, "a")]
    taps = [tap for tap in edge_taps(lab.plan) if tap.edge.startswith("a-")]
    links = [(tap.edge, lab.runtime.netns(tap.router), tap.interface) for tap in taps]
    ports: dict[int, list[str]] = {}
    edges: dict[str, int] = {}
    with raw.ears(backends, vip) as at_backends, raw.ears(links, vip) as at_links:
        raw.send(lab.runtime.netns(sender), packets)
        deadline = time.monotonic() + 5
        while len(ports) < wanted and time.monotonic() < deadline:
            time.sleep(0.1)
            for name, heard in at_backends().items():
                for one in heard:
                    port = one.quoted_port or one.segment_port
                    if port and not one.outgoing:
                        ports.setdefault(port, []).append(name)
        for edge, heard in at_links().items():
            edges[edge] = edges.get(edge, 0) + sum(one.outgoing for one in heard)
    return Carried(ports, edges)


@pytest.mark.parametrize("name", ["web", "echo"])
def test_4000_errors_of_one_router_through_one_edge_find_the_backend_of_each_flow(
    lab: RunningLab, family: Family, name: str
) -> None:
    """Routers hash an ICMP error by its addresses alone: 26 % of them would meet their flow's edge by chance."""
    one = service(lab, name)
    vip, client = family.vip(one), family.client(lab.plan.nodes["client-a"])
    ports = random.Random(7).sample(range(1024, 65536), FLOWS)
    flows = [Flow(client, port, vip, one.ports[0][1], TCP) for port in ports]
    owners = carry(lab, vip, "client-a", [raw.segment(flow) for flow in flows], FLOWS)
    assert sorted(owners.backends) == sorted(ports), "a segment was lost, so its owner is unknown"
    assert min(owners.edges.values()) > FLOWS / 4, "both edges carried the flows"
    assert {tuple(names) for names in owners.backends.values()} == {("a-b1",), ("a-b2",), ("a-b3",)}
    through = set()
    for router in routers_behind_both_edges(lab, vip, flows[0]):
        errors = carry(lab, vip, "transit", [raw.too_big(router, flow, NARROW) for flow in flows], FLOWS)
        assert sorted(errors.edges.values()) == [0, FLOWS], "all errors of a router go to one edge"
        assert errors.backends == owners.backends
        through |= {edge for edge, count in errors.edges.items() if count}
    assert through == {"a-e1", "a-e2"}


def routers_behind_both_edges(lab: RunningLab, vip: IpAddress, flow: Flow) -> list[IpAddress]:
    """Two addresses of routers in the core whose errors are hashed to different edges."""
    found: dict[str, IpAddress] = {}
    kind = IPv4Address if vip.version == 4 else IPv6Address
    base = int(kind("192.0.2.0" if vip.version == 4 else "2001:db8:f::"))
    for number in range(1, 60):
        router = kind(base + number)
        carried = carry(lab, vip, "transit", [raw.too_big(router, flow, NARROW)], 1)
        found.setdefault(next(edge for edge, count in carried.edges.items() if count), router)
        if len(found) == 2:
            break
    return list(found.values())
