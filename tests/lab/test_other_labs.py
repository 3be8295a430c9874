"""Each lab with other routers, receivers or targets, deployed: it converges, answers, drains and goes away."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from lab.netns.runtime import NetnsRuntime
from lab.runtime import LabError
from tests.lab import machine, other_labs
from tests.lab.asking import Lab, converged, missing_devices
from tests.lab.machine import wait_until

pytestmark = machine.marks


def needs(*programs: str) -> None:
    missing = [one for one in programs if not shutil.which(one) and not shutil.which(f"/usr/sbin/{one}")]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@contextmanager
def deployed(name: str) -> Iterator[Lab]:
    """The shipped lab under another name; nothing of it stays."""
    topology = replace(other_labs.topology(name), name=f"fhot-{name}")
    with NetnsRuntime(topology) as runtime:
        runtime.deploy(lambda _: None)
        with converged(runtime, topology) as lab:
            yield lab
    machine.wait_for_nothing(topology.name)


@pytest.mark.parametrize("name", ["bird", "gobgp"])
def test_other_routers_balance_over_the_edges_and_follow_a_drain(name: str) -> None:
    needs(*{"bird": ("bird",), "gobgp": ("gobgpd", "gobgp")}[name])
    with deployed(name) as lab:
        lab.await_backends()
        for vip in ("203.0.113.10", "2001:db8:1::10"):
            lab.answers_of_all(lab.ask("http", vip, 80))
        lab.answers_of_all(lab.ask("udp", "203.0.113.11", 7000))
        hops = lab.shell("a-r1", "ip route show 203.0.113.10; ip -6 route show 2001:db8:1::10")
        assert hops.count("nexthop via") == 4, hops
        lab.drain("a-e1")
        lab.answers_of_all(lab.ask("http", "203.0.113.10", 80))
        if name == "bird":
            for vip in ("203.0.113.12", "2001:db8:1::12"):
                lab.answers_of_all(lab.ask("quic", vip, 443, times=10), 10)
            said = lab.shell("a-s1", "etcdctl put fairhop here && etcdctl get fairhop")
            assert said.split() == ["OK", "fairhop", "here"]


@pytest.mark.parametrize("name", ["haproxy", "nft"])
def test_a_target_serves_drains_and_leaves_out_what_is_dead(name: str) -> None:
    needs("bird", name)
    with deployed(name) as lab:
        wait_until(lambda: {*lab.ask("http", "203.0.113.10", 80, 20)} == {"a-b1", "a-b2", "a-b3"}, 15.0)
        for vip, vip6 in (("203.0.113.10", "2001:db8:1::10"), ("203.0.113.11", "2001:db8:1::11")):
            what, port = ("http", 80) if vip.endswith(".10") else ("tcp", 7000)
            lab.answers_of_all(lab.ask(what, vip, port))
            lab.answers_of_all(lab.ask(what, vip6, port))
        if name == "nft":
            lab.answers_of_all(lab.ask("udp", "203.0.113.11", 7000))
        process = "haproxy" if name == "haproxy" else "nft_balance"
        lab.drain("a-e1")
        lab.shell("a-e1", f"pgrep -f {process}")
        lab.answers_of_all(lab.ask("http", "203.0.113.10", 80))
        lab.shell("a-e1", "node-start undrain")
        lab.announcing("a-e1", "a-e2")
        lab.shell("a-b1", "touch /run/hold/nginx; pkill nginx")
        # Until the checks have found it dead nftables goes on sending to it, which is refused.
        wait_until(lambda: {*lab.ask("http", "203.0.113.10", 80, 12)} == {"a-b2", "a-b3"}, 10.0)
        lab.answers_of_all(lab.ask("http", "203.0.113.10", 80))
        lab.shell("a-b2", "touch /run/hold/nginx; pkill nginx")
        lab.shell("a-b3", "touch /run/hold/nginx; pkill nginx")
        lab.announcing()  # with no backend alive an edge withdraws
        lab.shell("a-b2", "rm /run/hold/nginx")
        lab.announcing("a-e1", "a-e2")
        wait_until(lambda: lab.ask("http", "203.0.113.10", 80, 5) == {"a-b2": 5}, 10.0)


def test_two_tiers_answer_directly_and_tls_reaches_the_named_server() -> None:
    needs("haproxy", "openssl")
    with deployed("two-tier") as lab:
        lab.await_backends()
        lab.answers_of_all(lab.ask("http", "203.0.113.10", 80))
        for backend, vip in (("a-b1", "203.0.113.10"), ("a-b2", "2001:db8:1::10"), ("a-b3", "203.0.113.10")):
            assert lab.ask("tls", vip, 443, 4, f"{backend}.example.net") == {backend: 4}
        lab.answers_of_all(lab.ask("tls", "203.0.113.10", 443, 12, "www.example.net"), 12)
        refused = lab.ask("tls", "203.0.113.10", 443, 1, "other.example.net")
        assert "Error" in next(iter(refused)), "a name that no server has"
        ask = "echo | openssl s_client -connect 203.0.113.10:443 -servername a-b2.example.net"
        fetched = lab.shell("client-a", ask)
        assert "CN = a-b2.example.net" in fetched
        lab.drain("a-e1")
        lab.answers_of_all(lab.ask("http", "203.0.113.10", 80))


def test_stock_receivers_take_tunnels_or_the_kernel_is_said_to_have_none() -> None:
    if missing_devices():
        said = r"cannot make device fh-gre of type gre, .* Unknown device type"
        with pytest.raises(LabError, match=said), deployed("stock"):
            pass
    else:
        with deployed("stock") as lab:
            lab.await_backends()
            lab.answers_of_all(lab.ask("http", "203.0.113.10", 80))
            lab.answers_of_all(lab.ask("http", "2001:db8:1::10", 80))
            lab.answers_of_all(lab.ask("udp", "203.0.113.11", 7000))
            lab.drain("a-e1")
    machine.wait_for_nothing("fhot-stock")
