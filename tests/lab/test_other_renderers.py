"""Labs with other routers, receivers and targets: committed files are the rendered ones, and real parsers take them."""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from edge.backend import config as backend_config
from edge.config import file as config
from lab.addressing import NodePlan, Role
from lab.nodes.nft_rules import parse, rules
from lab.planning import PlanError, plan
from lab.render.folder import Difference, compare
from lab.render.frr import frr_conf
from lab.render.host import fairhop_yaml
from lab.render.lab_files import render
from lab.topology.model import Topology
from tests.lab import other_labs
from tests.lab.other_labs import FOLDER, LABS, rendered

Found = tuple[str, NodePlan, Path]


def needs(program: str) -> None:
    if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
        pytest.skip(f"not installed: {program}")


def called(found: object) -> str:
    return f"{found[0]}-{found[1].name}" if isinstance(found, tuple) else str(found)


def run(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("lab", LABS)
def test_the_committed_files_are_the_rendered_ones(lab: str) -> None:
    assert compare(FOLDER, render(other_labs.plan(lab))) == Difference()
    binds = [bind.source for node in other_labs.topology(lab).nodes.values() for bind in node.binds]
    assert [source for source in binds if not (FOLDER / source).exists()] == []


@pytest.mark.parametrize("lab", LABS)
def test_no_key_is_committed(lab: str) -> None:
    assert [path for path in (FOLDER / lab).rglob("*") if path.is_file() and "PRIVATE KEY" in path.read_text()] == []


@pytest.mark.parametrize("found", rendered("bird.conf"), ids=called)
def test_bird_takes_every_line(found: Found, tmp_path: Path) -> None:
    needs("bird")
    done = run("bird", "-p", "-c", found[2])
    assert (done.returncode, done.stderr) == (0, "")
    wrong = tmp_path / "bird.conf"
    wrong.write_text(found[2].read_text().replace("neighbor", "nieghbor"))
    assert run("bird", "-p", "-c", wrong).returncode != 0


@pytest.mark.parametrize("found", rendered("haproxy.cfg"), ids=called)
def test_haproxy_takes_every_line_without_a_warning(found: Found, tmp_path: Path) -> None:
    needs("haproxy")
    done = run("haproxy", "-c", "-q", "-dW", "-f", found[2])
    assert done.returncode == 0, done.stderr
    wrong = tmp_path / "haproxy.cfg"
    wrong.write_text(found[2].read_text().replace("balance roundrobin", "balance squarerobin"))
    assert run("haproxy", "-c", "-q", "-f", wrong).returncode != 0


@pytest.mark.lab
@pytest.mark.skipif(os.geteuid() != 0, reason="nft checks rules in a network namespace of its own: needs root")
def test_nft_takes_the_rules_of_every_set_of_living_backends() -> None:
    needs("nft")
    texts = [path.read_text() for _, _, path in rendered("tunnels.nft")]
    for _, _, path in rendered("balance.json"):
        balance = parse(path.read_text())
        names = [one.name for one in balance.backends]
        texts += [rules(balance, names[:count]) for count in range(len(names) + 1)]
    assert len(texts) > 6
    for text, works in [*((text, True) for text in texts), (texts[-1].replace("jhash", "jmash"), False)]:
        done = subprocess.run(
            ["unshare", "--net", "nft", "-c", "-f", "-"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == works, done.stderr


@pytest.mark.lab
@pytest.mark.skipif(os.geteuid() != 0, reason="GoBGP is tried in a network namespace of its own: needs root")
@pytest.mark.parametrize("found", rendered("gobgpd.toml"), ids=called)
def test_gobgp_takes_every_line(found: Found, tmp_path: Path) -> None:
    """It has no check of its own: it is started without neighbours' links, and then asked what it read."""
    needs("gobgpd")
    for text, works in ((found[2].read_text(), True), (found[2].read_text().replace('"vips4"', '"visp4"', 1), False)):
        file = tmp_path / "gobgpd.toml"
        file.write_text(text)
        script = (
            "ip link set lo up; gobgpd -t toml -f $0 >$1 2>&1 & daemon=$!\n"
            "for _ in $(seq 50); do gobgp policy >/dev/null 2>&1 && break; sleep 0.1; done\n"
            "gobgp policy; gobgp neighbor; kill $daemon; wait"
        )
        done = run("unshare", "--net", "sh", "-c", script, file, tmp_path / "log")
        neighbours = [i for i, other in other_labs.plan(found[0]).neighbours(found[1]) if other.asn]
        names = [f"{interface.peer_address} " in done.stdout for interface in neighbours]
        assert (all(names) and f"from-{neighbours[0].peer}" in done.stdout) == works, done.stdout + done.stderr


@pytest.mark.parametrize("found", rendered("fairhop.yaml"), ids=called)
def test_fairhop_yaml_is_one_that_the_daemon_accepts(found: Found) -> None:
    loaded = config.load(found[2].read_text(), "fairhop.yaml")
    receivers = other_labs.plan(found[0]).receivers(found[1].site)
    for name, pool in loaded.pools.items():
        assert [str(one.address) for one in pool.backends] == [str(one.address) for one in receivers]
        assert [one.server_id for one in pool.backends] == [one.number if name == "h3" else None for one in receivers]


@pytest.mark.parametrize("found", rendered("backend.yaml"), ids=called)
def test_backend_yaml_is_one_that_the_agent_accepts(found: Found) -> None:
    assert backend_config.load(found[2].read_text(), "backend.yaml").name == found[1].name


def test_only_what_takes_tunnels_holds_the_vips_and_clamps_the_mss() -> None:
    for lab in LABS:
        for node in other_labs.plan(lab).nodes.values():
            text = (FOLDER / lab / node.name / "net.batch").read_text()
            edge = node.role is Role.EDGE and node.target != "fairhop"
            tunnels = node.role in (Role.BACKEND, Role.PROXY) and other_labs.plan(lab).takes_tunnels(node)
            assert ("203.0.113.10/32" in text) == (edge or tunnels), f"{lab} {node.name}"
            assert ("advmss" in text) == tunnels, f"{lab} {node.name}"
    found = {lab: {n.name[2] for n in other_labs.plan(lab).nodes.values() if other_labs.plan(lab).takes_tunnels(n)}
             for lab in LABS}  # fmt: skip
    assert found == {"bird": {"b"}, "gobgp": {"b"}, "stock": {"b"}, "two-tier": {"p"}, "haproxy": set(), "nft": set()}


def test_a_router_lets_in_of_edges_the_vips_alone_and_tells_them_nothing() -> None:
    for lab, router, path in rendered("bird.conf"):
        if router.role is not Role.ROUTER:
            continue
        text = path.read_text()
        for interface, peer in other_labs.plan(lab).neighbours(router):
            if peer.role is not Role.EDGE:
                continue
            label = peer.name.replace("-", "_")
            policy = text.partition(f"filter from_{label}_4 {{")[2].partition("\n}")[0]
            assert "if ! is_vip4() then reject;" in policy
            assert f"if bgp_next_hop != {interface.peer_address} then reject;" in policy
            assert policy.rstrip().endswith("accept;")
            session = text.partition(f"protocol bgp {label} {{")[2].partition("\n}")[0]
            assert session.count("export none;") == 2


def test_the_devices_of_stock_receivers_are_those_of_the_documentation() -> None:
    documented = (FOLDER.parent / "docs" / "receivers.md").read_text()
    lines = [line for _, _, path in rendered("tunnels.batch") for line in path.read_text().splitlines()]
    assert len([line for line in lines if line.startswith("link add")]) == 6
    for line in lines:
        general = re.sub(r"local \S+", "local 10.0.9.1", line)
        assert line.startswith("#") or f"\nip {general}\n" in documented, line


def test_a_store_knows_its_cluster() -> None:
    ((lab, node, path),) = rendered("etcd.yml")
    read = yaml.safe_load(path.read_text())
    assert read["initial-cluster"] == f"{node.name}={read['listen-peer-urls']}"
    assert str(node.address) in read["listen-peer-urls"]
    assert lab == "bird"


def test_quic_services_name_backends_as_the_edges_do() -> None:
    loaded = config.load((FOLDER / "bird/a-e1/fairhop.yaml").read_text(), "")
    assert loaded.quic is not None
    for backend in loaded.pools["h3"].backends:
        words = (FOLDER / "bird" / backend.name / "quic").read_text().split()
        assert words == [backend.name, "443", str(backend.server_id), str(loaded.quic.server_id_length), "0"]


def altered(lab: str, node: str, **labels: str) -> Topology:
    found = other_labs.topology(lab)
    one = found.nodes[node]
    renamed = {f"fairhop.{key}": value for key, value in labels.items()}
    return replace(found, nodes={**found.nodes, node: replace(one, labels={**one.labels, **renamed})})


@pytest.mark.parametrize(
    ("lab", "node", "labels", "problem"),
    [
        ("bird", "a-r1", {"router": "quagga"},
         "node a-r1: label fairhop.router is 'quagga': expected one of frr, bird, gobgp"),
        ("bird", "a-e1", {"router": "bird"}, "node a-e1: label fairhop.router is for nodes of role router"),
        ("haproxy", "a-e1", {"target": "nft"},
         "the edges of site a are haproxy and nft: expected one target for a site"),
        ("gobgp", "a-r1", {"bfd": "60x3"}, "node a-r1: gobgp has no BFD here: expected no label fairhop.bfd"),
        ("bird", "a-r1", {"read-back": "bmp"},
         "node a-r1: bird is not read back here: expected no label fairhop.read-back"),
        ("haproxy", "a-e1", {"read-back": "bmp"}, "node a-e1: label fairhop.read-back is for nodes of role router"),
        ("stock", "a-b1", {"receiver": "ipip"},
         "node a-b1: label fairhop.receiver is 'ipip': expected one of fairhop, stock"),
    ],
)  # fmt: skip
def test_a_wrong_label_is_refused(lab: str, node: str, labels: dict[str, str], problem: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan(altered(lab, node, **labels))
    assert caught.value.problems == (problem,)


def test_an_edge_reads_back_the_routers_that_tell_and_knows_the_other_sites() -> None:
    lab = plan(altered("two-site", "a-r1", **{"read-back": "bmp"}))
    asked = config.load(fairhop_yaml(lab, lab.nodes["a-e2"]), "").announcer.read_back
    assert asked is not None
    assert [(router.name, str(router.address), router.peers) for router in asked.routers] == [
        ("a-r1", "10.0.7.0", ("a-r1",))
    ]
    assert (str(asked.listen), asked.origins) == ("0.0.0.0", (65210,))
    assert config.load(fairhop_yaml(lab, lab.nodes["b-e1"]), "").announcer.read_back is None
    conf = frr_conf(lab, lab.nodes["a-r1"])
    assert conf.count("bmp connect") == 2
    assert "  bmp connect 10.0.7.1 port 11019" in conf
    assert "bmp" not in frr_conf(lab, lab.nodes["a-r2"])


def relabelled(lab: str, **labels: str) -> Topology:
    found = other_labs.topology(lab)
    renamed = {f"fairhop.{key.replace('_', '.')}": value for key, value in labels.items()}
    nodes = {name: replace(one, labels={**one.labels, **renamed}) for name, one in found.nodes.items()}
    return replace(found, nodes=nodes)


@pytest.mark.parametrize(
    ("lab", "labels", "problem"),
    [
        ("bird", {"service_h3": "203.0.113.12 udp/443 tcp/443 gre quic"},
         "service h3 is quic: expected one UDP port, and no other"),
        ("haproxy", {"service_echo": "203.0.113.11 udp/7000 ipip"},
         "node a-e1: HAProxy carries no UDP: expected TCP ports only in service echo"),
        ("nft", {"service_h3": "203.0.113.12 udp/443 gre quic"},
         "node a-e1: only target fairhop routes by connection id: expected no service with quic"),
        ("bird", {"underlay": "6"}, "node a-r1: bird is rendered for fairhop.underlay 4 only"),
    ],
)  # fmt: skip
def test_what_a_target_cannot_do_is_refused(lab: str, labels: dict[str, str], problem: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan(relabelled(lab, **labels))
    assert problem in caught.value.problems
