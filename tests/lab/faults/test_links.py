"""Faults of links on three plain nodes: each does what it says, measured, and leaves nothing."""

import threading
import time
from collections.abc import Iterator

import pytest

from lab.runtime import LabError
from tests.lab.faults.trio import Lab, as_before, journal, shell, trio
from tests.lab.machine import marks

pytestmark = marks


@pytest.fixture(scope="module")
def module_lab() -> Iterator[Lab]:
    with trio("links") as lab:
        yield lab


@pytest.fixture
def lab(module_lab: Lab) -> Iterator[Lab]:
    with as_before(module_lab):
        yield module_lab


def test_a_link_that_is_down_takes_the_carrier_and_comes_back_with_all_addresses_and_routes(lab: Lab) -> None:
    lab.apply('link-down: {on: "r:eth2"}')
    assert "NO-CARRIER" in shell(lab.runtime, "h2", "ip link show eth1")
    assert "10.9.9.0" not in shell(lab.runtime, "r", "ip route")
    assert not lab.ping("10.9.2.1", "-c", "1", "-W", "1")[1]


@pytest.mark.parametrize("direction", ["in", "out"])
def test_loss_takes_its_share_of_the_datagrams_one_way(lab: Lab, direction: str) -> None:
    lab.apply(f'loss: {{on: "r:eth2", percent: 30, direction: {direction}}}')
    said = shell(lab.runtime, "h1", "ping -n -f -c 2000 -i 0.001 -W 1 10.9.2.1 | grep -o '[0-9.]*% packet loss'")
    assert 26 < float(said.split("%")[0]) < 34


def test_a_blackhole_keeps_the_carrier(lab: Lab) -> None:
    lab.apply('blackhole: {on: "r:eth1"}')
    assert not lab.ping("10.9.2.1", "-c", "2", "-i", "0.1", "-W", "1")[1]
    assert "LOWER_UP" in shell(lab.runtime, "h1", "ip link show eth1")


@pytest.mark.parametrize(("direction", "server", "client"), [("out", "h2", "h1"), ("in", "h1", "h2")])
def test_a_rate_bounds_a_transfer(lab: Lab, direction: str, server: str, client: str) -> None:
    lab.apply(f'rate: {{on: "r:eth2", mbit: 8, direction: {direction}}}')
    assert 6.0 < mbit(lab, server, client) < 8.5
    lab.injector.revert_all()
    assert mbit(lab, server, client) > 20


def mbit(lab: Lab, server: str, client: str) -> float:
    """Megabits a second of 2 MB over TCP."""
    address = {"h1": "10.9.1.1", "h2": "10.9.2.1"}[server]
    take = (
        "import socket,time\ns=socket.create_server(('',5999))\nc,_=s.accept()\nb=time.monotonic()\nn=0\n"
        "while d:=c.recv(65536): n+=len(d)\nprint(n*8/1e6/(time.monotonic()-b))"
    )
    give = (
        "import socket,time\nfor i in range(100):\n try: s=socket.create_connection(('ADDRESS',5999)); break\n"
        " except OSError: time.sleep(0.05)\ns.sendall(bytes(2000000))\ns.close()"
    ).replace("ADDRESS", address)
    sender = threading.Thread(target=lambda: lab.runtime.exec(client, ["python3", "-c", give]))
    sender.start()
    said = lab.runtime.exec(server, ["python3", "-c", take]).stdout
    sender.join()
    return float(said)


def test_packets_above_the_mtu_are_answered_or_vanish(lab: Lab) -> None:
    big = ("-c", "2", "-i", "0.2", "-W", "1", "-M", "do", "-s", "1400")
    assert lab.ping("10.9.2.1", *big)[1]
    name = lab.apply('mtu: {on: "r:eth2", bytes: 1300}')
    assert "mtu = 1300" in shell(lab.runtime, "h1", "ping -n -c 1 -W 1 -M do -s 1400 10.9.2.1 2>&1")
    lab.injector.revert(name)
    shell(lab.runtime, "h1", "ip route flush cache")
    lab.apply('mtu: {on: "r:eth2", bytes: 1300, silent: true}')
    assert "mtu" not in shell(lab.runtime, "h1", "ping -n -c 1 -W 1 -M do -s 1400 10.9.2.1 2>&1")
    assert not lab.ping("10.9.2.1", *big)[1]
    assert lab.ping("10.9.2.1", "-c", "1", "-W", "1", "-s", "1272")[1]  # 1300 bytes in all: these pass


def test_bfd_is_dropped_and_all_else_passes(lab: Lab) -> None:
    lab.apply('bfd-down: {on: "r:eth2", direction: out}')
    hear = "timeout 2 python3 -c \"import socket;s=socket.socket(2,2);s.bind(('',PORT));print(s.recv(9))\" & "
    send = (
        "import socket,time;s=socket.socket(2,2)\n"
        "for i in range(8):\n time.sleep(.15)\n s.sendto(b'x',('10.9.2.1',PORT))"
    )
    for port, heard in ((3784, False), (5784, True)):
        sender = threading.Thread(
            target=lambda port=port: lab.runtime.exec("h1", ["python3", "-c", send.replace("PORT", str(port))])
        )
        sender.start()
        assert bool(shell(lab.runtime, "h2", hear.replace("PORT", str(port)) + "wait")) is heard
        sender.join()


@pytest.mark.parametrize(("kind", "match"), [("syn", "tcp flags == syn"), ("udp", "udp length 72")])
def test_a_flood_arrives_at_its_rate_from_its_sources(lab: Lab, kind: str, match: str) -> None:
    table = (
        "table inet seen { chain c { type filter hook prerouting priority -300; "
        f"ip saddr 198.18.0.0/15 ip daddr 10.9.2.1 {match} th dport 80 counter drop; }} }}"
    )
    shell(lab.runtime, "r", f"printf '%s' '{table}' | tr ';' '\\n' | sed 's/{{/{{\\n/g; s/}}/\\n}}/g' | nft -f -")
    try:
        name = lab.apply(f'{kind}-flood: {{node: h1, to: "10.9.2.1:80", rate: 2000}}')
        first, began = seen(lab), time.monotonic()
        time.sleep(1)
        rate = (seen(lab) - first) / (time.monotonic() - began)
        lab.injector.revert(name)
        assert 1700 < rate < 2200
        after = seen(lab)
        time.sleep(0.1)
        assert seen(lab) == after
    finally:
        shell(lab.runtime, "r", "nft delete table inet seen")


def seen(lab: Lab, node: str = "r") -> int:
    """Packets that the counter at the router, or another node, has."""
    return int(shell(lab.runtime, node, "nft list table inet seen").split("packets ")[1].split()[0])


def test_ecmp_is_hashed_with_another_seed_and_policy(lab: Lab) -> None:
    lab.apply("ecmp-rehash: {node: r}")
    lab.apply("ecmp-rehash: {node: r, by: policy, value: 1}")
    assert shell(lab.runtime, "r", "cat /proc/sys/net/ipv4/fib_multipath_hash_seed").strip() == "1"
    assert shell(lab.runtime, "r", "cat /proc/sys/net/ipv6/fib_multipath_hash_policy").strip() == "1"


def test_a_router_that_goes_by_the_senders_hash_hashes_by_itself_once_its_seed_is_another(lab: Lab) -> None:
    def read() -> list[str]:
        names = ("ipv4/fib_multipath_hash", "ipv6/fib_multipath_hash")
        files = [f"/proc/sys/net/{name}_{what}" for name in names for what in ("policy", "fields")]
        return shell(lab.runtime, "r", f"cat {' '.join(files)}").split()

    lab.apply("ecmp-rehash: {node: r, by: policy, value: 1}")
    before = read()
    name = lab.apply("ecmp-rehash: {node: r}")
    assert before[::2] == ["1", "1"] and read() == ["3", "55", "3", "55"]
    lab.injector.revert(name)
    assert read() == before


def test_what_cannot_be_made_leaves_nothing(lab: Lab) -> None:
    with pytest.raises(LabError, match="no link has the end 'r:eth3'; did you mean 'r:eth2'"):
        lab.apply('loss: {on: "r:eth3", percent: 1}')
    with pytest.raises(LabError, match="would end IPv6"):
        lab.apply('mtu: {on: "r:eth2", bytes: 600}')
    lab.apply('rate: {on: "r:eth2", mbit: 1}')
    with pytest.raises(LabError, match="has the qdisc tbf already"):
        lab.apply('rate: {on: "r:eth2", mbit: 2, direction: both}')
    assert journal(lab.topology) == ["rate"]


def trips(lab: Lab, to: str, *options: str) -> list[float]:
    """Round trips in ms, sorted; the first one, which may wait for a neighbor, apart."""
    shell(lab.runtime, "h1", f"ping -n -c 1 -W 2 {to}")
    return sorted(lab.ping(to, "-c", "40", "-i", "0.02", "-W", "2", *options)[1])


@pytest.mark.parametrize(("direction", "each_way"), [("out", 1), ("in", 1), ("both", 2)])
def test_a_delay_holds_each_packet_for_its_time(lab: Lab, direction: str, each_way: int) -> None:
    before = trips(lab, "10.9.2.1")
    lab.apply(f'delay: {{on: "r:eth2", ms: 30, direction: {direction}}}')
    for node in ("r", "h2"):
        shell(lab.runtime, node, "ip neigh flush all")  # the link must learn its neighbors through the delay
    for to in ("10.9.2.1", "fd09:2::1"):
        after = trips(lab, to)
        assert len(after) == 40
        assert after[0] >= 30 * each_way
        assert after[20] < 30 * each_way + before[-1] + 15  # a busy machine may be late, but not half of the time


def test_jitter_spreads_a_delay_and_keeps_the_order(lab: Lab) -> None:
    lab.apply('delay: {on: "r:eth2", ms: 20, jitter: 15, direction: out}')
    times = trips(lab, "10.9.2.1")
    assert times[0] >= 5
    assert times[30] - times[10] > 5  # half of all are within 15 ms where nothing else spreads them
    with pytest.raises(LabError, match="delayed already by 'delay'"):
        lab.apply('delay: {on: "h2:eth1", ms: 1}')


def test_a_transfer_passes_a_delay_whole(lab: Lab) -> None:
    lab.apply('delay: {on: "r:eth2", ms: 5}')
    assert mbit(lab, "h2", "h1") > 5


@pytest.mark.parametrize(
    ("to", "mtu", "match"),
    [
        ("10.9.2.1:80", 1000, "icmp code frag-needed icmp mtu 1000"),
        ("[fd09:2::1]:80", 1300, "icmpv6 mtu 1300"),
    ],
)
def test_a_storm_of_packets_too_big_arrives_whole(lab: Lab, to: str, mtu: int, match: str) -> None:
    rules = f"table inet seen {{ chain c {{ type filter hook input priority 0; {match} counter drop; }}; }}"
    lab.runtime.exec("h2", ["nft", rules])
    try:
        name = lab.apply(f'ptb-storm: {{node: r, to: "{to}", rate: 1000, mtu: {mtu}}}')
        first, began = seen(lab, "h2"), time.monotonic()
        time.sleep(1)
        rate = (seen(lab, "h2") - first) / (time.monotonic() - began)
        lab.injector.revert(name)
        assert 800 < rate < 1100
        after = seen(lab, "h2")
        time.sleep(0.1)
        assert seen(lab, "h2") == after
    finally:
        shell(lab.runtime, "h2", "nft delete table inet seen")
