"""The edge nodes of a running lab, asked from the routers' kernels and from the clients."""

import signal
import statistics
import time
from collections.abc import Callable, Iterator

import pytest

from edge.maglev import Member, build
from lab.addressing import NodePlan, Role
from lab.job.convergence import expected
from lab.observe.taps import edge_taps
from lab.observe.wire import WireTap
from lab.runtime import LabError
from lab.scenario.stage import refuse_to_lie
from lab.traffic.facts import total
from lab.traffic.flow import Flow
from lab.traffic.load import Load, mark_all
from lab.traffic.plan import Connections, Plan, Requests
from tests.lab import machine
from tests.lab.running import EDGES, RunningLab, running_lab

pytestmark = machine.marks


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running_lab("fh-edge") as running:
        yield running


@pytest.fixture
def traffic(lab: RunningLab) -> Iterator[list[Load]]:
    """Steady traffic from both clients, established; a test asks for the facts."""

    def plan(client: NodePlan) -> Plan:
        source = str(client.client_address)
        requests = Requests(source, "http://203.0.113.10/", 50.0)
        return Plan({"web": requests, "held": Connections(source, "203.0.113.11:7000", 200, interval=0.25)})

    yield from loads_from(lab, plan)


@pytest.fixture
def traffic6(lab: RunningLab) -> Iterator[list[Load]]:
    """The same over IPv6, and less of it."""

    def plan(client: NodePlan) -> Plan:
        source = str(client.client_address6)
        requests = Requests(source, "http://[2001:db8:1::10]/", 10.0)
        return Plan({"web": requests, "held": Connections(source, "[2001:db8:1::11]:7000", 40, interval=0.25)})

    yield from loads_from(lab, plan)


def loads_from(lab: RunningLab, plan: Callable[[NodePlan], Plan]) -> Iterator[list[Load]]:
    loads = []
    try:
        for client in lab.plan.having(Role.CLIENT):
            loads.append(Load.start(lab.runtime, client.name, plan(client), "python3"))
        for load in loads:
            load.wait_ready(30.0)
        mark_all(loads, "before")
        yield loads
    finally:
        for load in loads:
            load.close()


def assert_nothing_broke(loads: list[Load]) -> None:
    facts = total(mark_all(loads, "after"))
    assert (facts.broken, facts.failed, facts.open_failed) == ({}, {}, {}), facts.failures
    assert facts.answers > 0
    assert facts.replies > 0


def test_every_edge_serves_in_native_mode_with_an_exact_account(lab: RunningLab) -> None:
    for edge in EDGES:
        facts = lab.facts(edge, "status")
        assert facts["verdict"] == "SERVING"
        forwarder = facts["forwarder"]
        assert set(forwarder["modes"].values()) == {"native"}
        assert forwarder["rx"] == forwarder["tx"] + forwarder["passed"] + sum(forwarder["drops"].values())


def test_edges_of_a_site_publish_the_digest_that_anybody_can_compute(lab: RunningLab) -> None:
    for site in ("a", "b"):
        members = [Member(str(backend.address)) for backend in lab.plan.having(Role.BACKEND, site)]
        digests = {
            pool["digest"]
            for edge in lab.plan.having(Role.EDGE, site)
            for pool in lab.facts(edge.name, "status")["pools"]
        }
        assert digests == {build(members, 65537).digest}


def test_a_flow_has_one_backend_by_why_by_every_program_and_on_the_wire(
    lab: RunningLab, traffic: list[Load], traffic6: list[Load]
) -> None:
    netns = {router.name: lab.runtime.netns(router.name) for router in lab.plan.having(Role.ROUTER)}
    with WireTap(netns, edge_taps(lab.plan)) as tap:
        capture = tap.capture(3.0, 20_000)
    assert not capture.malformed
    addresses = {str(backend.address): backend.name for backend in lab.plan.having(Role.BACKEND)}
    answered = {flow: backend for load in (*traffic, *traffic6) for flow, backend in load.flows().items()}
    compared = 0
    for flow, ways in capture.backends().items():
        assert len(ways) == 1, f"{flow} went to {ways}"
        ((backend, _),) = ways
        if flow in answered:
            assert addresses[str(backend)] == answered[flow]
            compared += 1
    assert compared >= 300
    for client in lab.plan.having(Role.CLIENT):
        for source, least in ((client.client_address, 100), (client.client_address6, 30)):
            flows = [(flow, ways) for flow, ways in capture.backends().items() if flow.client == source]
            assert len(flows) >= least
            for flow, ((address, encap),) in flows[:4]:
                for edge in lab.plan.having(Role.EDGE, client.site):
                    answer = lab.facts(edge.name, "why", *str_of(flow))
                    assert answer["agree"] is True
                    program = answer["program"]
                    assert (program["address"], program["encap"]) == (str(address), encap.name.lower())


def test_what_is_dropped_is_dropped_for_the_same_reason_by_program_and_oracle(lab: RunningLab) -> None:
    for target, verdict, reason in (
        ("203.0.113.10:81/tcp", "drop", "no_service"),
        ("203.0.113.10:80/udp", "drop", "no_service"),
        ("192.0.2.1:80/tcp", "pass", "none"),
    ):
        answer = lab.facts("a-e1", "why", "198.51.100.11:4711", target)
        assert (answer["agree"], answer["program"]["verdict"], answer["program"]["reason"]) == (True, verdict, reason)


def str_of(flow: Flow) -> tuple[str, str]:
    """A flow as `fairhop why` takes it."""
    protocol = {6: "tcp", 17: "udp"}[flow.protocol]
    client, vip = (str(a) if a.version == 4 else f"[{a}]" for a in (flow.client, flow.vip))
    return f"{client}:{flow.client_port}", f"{vip}:{flow.vip_port}/{protocol}"


@pytest.mark.calm
def test_a_drain_reaches_the_last_routers_kernel_in_a_fifth_of_a_second(lab: RunningLab, traffic: list[Load]) -> None:
    times = []
    for _ in range(5):
        began = time.monotonic()  # before the command, so its interpreter's start counts too
        lab.fairhop("a-e1", "drain", "node")
        times.append(lab.route_time(began, EDGES - {"a-e1"}))
        lab.undrain("a-e1")
    assert_nothing_broke(traffic)
    assert statistics.median(times) < 0.2, times


def test_a_drain_is_quiet_at_last_and_withdrawn_with_the_session_up(lab: RunningLab) -> None:
    lab.fairhop("a-e1", "drain", "node", "--wait", "--reason", "rack move")
    facts = lab.runtime.exec("a-e1", ["fairhop", "status"]).stdout
    assert "a-e1: DRAINED" in facts
    assert "drained: node since" in facts
    assert facts.count(" up ") >= 2
    lab.undrain("a-e1")


def test_a_drain_survives_the_daemons_death_and_announces_nothing_in_between(lab: RunningLab) -> None:
    lab.fairhop("a-e1", "drain", "node", "--wait")
    began = time.monotonic()
    lab.shell("a-e1", f"kill -KILL {lab.daemon_pid('a-e1')}")
    time.sleep(4.0)
    assert lab.watch.events(since=began) == []
    assert "DRAINED" in lab.runtime.exec("a-e1", ["fairhop", "status"]).stdout
    lab.undrain("a-e1")


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGKILL])
def test_a_daemon_that_ends_and_is_started_within_its_lease_changes_no_route_and_loses_nothing(
    lab: RunningLab, traffic: list[Load], number: signal.Signals
) -> None:
    old, began = lab.daemon_pid("a-e1"), time.monotonic()
    lab.shell("a-e1", f"kill -{int(number)} {old}")
    time.sleep(4.0)
    assert lab.daemon_pid("a-e1") != old
    assert lab.watch.events(since=began) == []
    assert_nothing_broke(traffic)
    assert lab.facts("a-e1", "status")["verdict"] == "SERVING"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_daemon_that_is_dead_or_hung_is_withdrawn_within_three_seconds(
    lab: RunningLab, traffic: list[Load], number: signal.Signals
) -> None:
    pid = lab.daemon_pid("a-e1")
    lab.shell("a-e1", "touch /run/hold/fairhop")
    began = time.monotonic()
    lab.shell("a-e1", f"kill -{int(number)} {pid}")
    assert lab.route_time(began, EDGES - {"a-e1"}) < 3.0
    lab.shell("a-e1", f"kill -KILL {pid} || true; rm /run/hold/fairhop")
    lab.watch.wait_for(expected(lab.plan, EDGES), 20.0)
    assert_nothing_broke(traffic)


def test_a_bad_reload_keeps_the_old_configuration_and_names_every_error(lab: RunningLab) -> None:
    before = lab.facts("a-e1", "status")["pools"]
    bad = "sed -e 's/port: 80,/port: 0,/' -e 's/^node:/nod:/' /etc/fairhop/fairhop.yaml > /tmp/bad.yaml"
    lab.shell("a-e1", f"{bad} && mount --bind /tmp/bad.yaml /etc/fairhop/fairhop.yaml")
    try:
        said = lab.fairhop("a-e1", "reload", expect=78)
        assert "the old configuration goes on" in said
        assert "unknown key 'nod'; did you mean 'node'?" in said
        assert "port is 0" in said
        lab.fairhop("a-e1", "check", expect=78)
    finally:
        lab.shell("a-e1", "umount /etc/fairhop/fairhop.yaml")
    assert [pool["digest"] for pool in lab.facts("a-e1", "status")["pools"]] == [pool["digest"] for pool in before]
    assert "no change" in lab.fairhop("a-e1", "reload")


def test_a_drained_backend_has_no_slots_and_gets_exactly_its_own_back(lab: RunningLab) -> None:
    before = {pool["name"]: pool["digest"] for pool in lab.facts("b-e1", "status")["pools"]}
    said = lab.fairhop("b-e1", "drain", "backend", "b-b2", "--wait", "--json")
    assert '"slots": 0' in said
    assert "no backend is called 'b-b9'; did you mean" in lab.fairhop("b-e1", "drain", "backend", "b-b9", expect=2)
    lab.fairhop("b-e1", "drain", "backend", "b-b1")
    refused = lab.fairhop("b-e1", "drain", "backend", "b-b3", expect=5)
    assert "would have no active backend left" in refused
    for backend in ("b-b1", "b-b2"):
        lab.fairhop("b-e1", "undrain", "backend", backend, "--wait")
    assert {pool["name"]: pool["digest"] for pool in lab.facts("b-e1", "status")["pools"]} == before


def test_the_announcer_runs_without_any_privilege(lab: RunningLab) -> None:
    for program in ("exabgp", "relay"):
        status = lab.shell("b-e2", f"cat /proc/$(pgrep -u nobody -f -- '-m (bgp.)?{program}' | head -n 1)/status")
        facts = {key: words.split() for key, _, words in (line.partition(":") for line in status.splitlines())}
        assert set(facts["Uid"]) == {"65534"}
        assert facts["NoNewPrivs"] == ["1"]
        assert {int(facts[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    modes = lab.shell("b-e2", "stat -c '%a %U %G' /run/fairhop/announcer /run/fairhop/control.sock").splitlines()
    assert modes == ["750 root nogroup", "660 root root"]


def test_a_reload_that_adds_a_dead_backend_takes_no_vip_away(lab: RunningLab, traffic: list[Load]) -> None:
    began = time.monotonic()
    add = "s/    - {name: b-b3, address: \\(.*\\)}/&\\n    - {name: b-b4, address: 10.0.99.1, weight: 1}/"
    slow = "s/timeout: 0.4/timeout: 5.0/; s/interval: 0.5/interval: 5.0/"
    lab.shell("b-e1", f"sed -e '{add}' -e '{slow}' /etc/fairhop/fairhop.yaml > /tmp/more.yaml")
    assert "b-b4" in lab.shell("b-e1", "cat /tmp/more.yaml")
    lab.shell("b-e1", "mount --bind /tmp/more.yaml /etc/fairhop/fairhop.yaml")
    try:
        assert "pools" in lab.fairhop("b-e1", "reload")
        time.sleep(4.0)
        assert lab.watch.events(since=began) == []
        assert "b-e1: SERVING" in lab.fairhop("b-e1", "status")
        assert_nothing_broke(traffic)
    finally:
        lab.shell("b-e1", "umount /etc/fairhop/fairhop.yaml")
    lab.fairhop("b-e1", "reload")


def test_a_term_drains_lingers_and_ends_the_daemon(lab: RunningLab, traffic: list[Load]) -> None:
    old, began = lab.daemon_pid("b-e2"), time.monotonic()
    lab.shell("b-e2", f"touch /run/hold/fairhop; kill -TERM {old}")
    lab.route_time(began, EDGES - {"b-e2"})
    machine.wait_until(lambda: lab.shell("b-e2", f"test -e /proc/{old} && echo there || true") == "", 15.0)
    assert time.monotonic() - began > 1.5, "it neither settled nor lingered"
    assert lab.shell("b-e2", "pgrep -f '[e]xabgp' || true") == ""
    lab.shell("b-e2", "rm /run/hold/fairhop")
    lab.watch.wait_for(expected(lab.plan, EDGES), 20.0)
    assert_nothing_broke(traffic)


@pytest.mark.parametrize(("family", "vip"), [("AF_INET", "203.0.113.11"), ("AF_INET6", "2001:db8:1::11")])
def test_udp_reaches_one_backend_a_flow_and_is_answered_from_the_vip(lab: RunningLab, family: str, vip: str) -> None:
    ask = (
        f"import socket; s = socket.socket(socket.{family}, socket.SOCK_DGRAM); s.settimeout(3);"
        f"s.bind(('', {{port}})); s.sendto(b'ping\\n', ('{vip}', 7000)); answer, who = s.recvfrom(99);"
        "print(answer.decode().split()[0], *who[:2])"
    )
    answers = set()
    for port in (40001, 40002, 40003, 40004, 40005, 40006):
        first, again = (lab.shell("client-b", f'python3 -c "{ask.format(port=port)}"') for _ in range(2))
        assert first == again
        name, address, source_port = first.split()
        assert (address, source_port) == (vip, "7000")
        answers.add(name)
    assert len(answers) > 1
    assert answers <= {"b-b1", "b-b2", "b-b3"}


@pytest.mark.parametrize(("vip", "advmss"), [("203.0.113.10", 1420), ("2001:db8:1::10", 1400)])
def test_a_handshake_through_the_edge_offers_segments_that_fit_the_tunnel(
    lab: RunningLab, vip: str, advmss: int
) -> None:
    ask = (
        f"import socket; s = socket.create_connection(('{vip}', 80));"
        "print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))"
    )
    assert advmss - 32 <= int(lab.shell("client-a", f'python3 -c "{ask}"')) <= advmss


def test_a_lab_on_which_a_measurement_would_lie_is_refused(lab: RunningLab) -> None:
    refuse_to_lie(lab.runtime, lab.topology)
    lab.shell("a-e2", "ethtool -K eth1 gro on")
    try:
        with pytest.raises(
            LabError, match=r"would lie:\na-e2:eth1: offloads gro are on; mend with: ethtool -K eth1 gro off"
        ):
            refuse_to_lie(lab.runtime, lab.topology)
    finally:
        lab.shell("a-e2", "ethtool -K eth1 gro off")
    refuse_to_lie(lab.runtime, lab.topology)
