"""The committed files are the rendered ones, and what they promise: binds, policies, numbers that must agree."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from edge import config
from edge.datapath.model import Encap
from lab.addressing import NodePlan, Role
from lab.render.folder import Difference, compare, write
from lab.render.lab_files import render
from tests.lab.two_site import FILE, two_site, two_site_plan

FILES = render(two_site_plan())
ROUTERS = two_site_plan().having(Role.ROUTER)
CLIENTS = two_site_plan().having(Role.CLIENT)
EDGES = two_site_plan().having(Role.EDGE)
BACKENDS = two_site_plan().having(Role.BACKEND)
NODE_START = FILE.parent / "images" / "node-start"


def file_of(node: NodePlan, name: str) -> str:
    return FILES[f"two-site/{node.name}/{name}"]


def named(node: NodePlan) -> str:
    return node.name


def test_the_committed_files_are_the_rendered_ones() -> None:
    assert compare(FILE.parent, FILES) == Difference()


def test_writing_makes_a_folder_as_wanted_and_says_what_differed(tmp_path: Path) -> None:
    wanted = {"x/a": "1\n", "x/b/c": "2\n"}
    write(tmp_path, wanted, compare(tmp_path, wanted))
    assert compare(tmp_path, wanted) == Difference()
    (tmp_path / "x/a").write_text("other\n")
    (tmp_path / "x/b/c").unlink()
    (tmp_path / "x/d").write_text("who?\n")
    (tmp_path / "beside").write_text("not ours\n")
    difference = compare(tmp_path, wanted)
    assert difference == Difference(missing=("x/b/c",), changed=("x/a",), stray=("x/d",))
    assert [*difference.lines()] == ["missing  x/b/c", "changed  x/a", "stray    x/d"]
    write(tmp_path, wanted, difference)
    assert compare(tmp_path, wanted) == Difference()
    assert (tmp_path / "beside").exists()


def test_every_bind_has_its_source() -> None:
    binds = [(name, bind) for name, node in two_site().nodes.items() for bind in node.binds]
    missing = [f"{name}: {bind.source}" for name, bind in binds if not (FILE.parent / bind.source).exists()]
    assert binds
    assert not missing


def test_every_node_starts_by_the_script_in_its_role() -> None:
    assert {name: node.command for name, node in two_site().nodes.items()} == {
        name: ("node-start", node.role.value) for name, node in two_site_plan().nodes.items()
    }
    assert NODE_START.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", NODE_START], check=True)


def test_only_routers_forward_and_all_hash_by_ports() -> None:
    wanted = {node.name: "1" if node.role is Role.ROUTER else "0" for node in two_site_plan().nodes.values()}
    nodes = two_site().nodes
    assert {name: node.sysctls["net.ipv4.ip_forward"] for name, node in nodes.items()} == wanted
    assert {name: node.sysctls["net.ipv6.conf.all.forwarding"] for name, node in nodes.items()} == wanted
    for family in ("ipv4", "ipv6"):
        assert {node.sysctls[f"net.{family}.fib_multipath_hash_policy"] for node in nodes.values()} == {"1"}
    assert {link.mtu for link in two_site().links} == {1500}


@pytest.mark.parametrize("edge", EDGES, ids=named)
def test_fairhop_yaml_is_one_that_the_daemon_accepts(edge: NodePlan) -> None:
    found = config.load(file_of(edge, "fairhop.yaml"), "fairhop.yaml")
    assert found.node == edge.name
    assert set(found.vips) == set(two_site_plan().vips)
    assert [(p.name, p.asn, p.local_address, p.local_address6) for p in found.announcer.peers] == [
        (i.peer, two_site_plan().nodes[i.peer].asn, i.address.ip, i.address6.ip) for i in edge.interfaces
    ]
    assert {vip.version for vip in two_site_plan().vips} == {4, 6}
    assert {name: pool.tunnel for name, pool in found.pools.items()} == {"web": Encap.GRE, "echo": Encap.IPIP}
    for pool in found.pools.values():
        assert [entry.name for entry in pool.backends] == [f"{edge.site}-b{number}" for number in (1, 2, 3)]
    assert [(one.transport.name, one.port, one.pool) for one in found.services] == [
        ("TCP", 80, "web"),
        ("TCP", 7000, "echo"),
        ("UDP", 7000, "echo"),
    ]


def test_the_edges_of_a_site_compute_one_table() -> None:
    """What goes into the lookup_table must be equal; seed and size even over all sites."""
    loaded = {edge: config.load(file_of(edge, "fairhop.yaml"), "fairhop.yaml") for edge in EDGES}
    assert len({one.hashing for one in loaded.values()}) == 1
    for site in ("a", "b"):
        assert len({repr((one.pools, one.services)) for edge, one in loaded.items() if edge.site == site}) == 1


@pytest.mark.parametrize("backend", BACKENDS, ids=named)
def test_a_backend_lets_in_exactly_the_tunnels_of_its_sites_edges(backend: NodePlan) -> None:
    read = yaml.safe_load(file_of(backend, "backend.yaml"))
    sources = [
        str(config.load(file_of(edge, "fairhop.yaml"), "").forwarder.outer_source)
        for edge in EDGES
        if edge.site == backend.site
    ]
    assert read["edges"] == sources
    assert read["address"] == str(backend.address)
    advmss, advmss6 = map(int, re.findall(r"^route .* advmss (\d+)$", file_of(backend, "net.batch"), re.M))
    assert read["advmss"] == advmss
    assert read["advmss6"] == advmss6
    for mss, header in ((advmss, 20), (advmss6, 40)):
        assert mss + 20 + header + 24 <= backend.interfaces[0].mtu, "IP, TCP and GRE over IP must fit the link"
    assert f"add_header X-Backend {backend.name} always;" in file_of(backend, "nginx.conf")


def test_every_peer_of_native_xdp_gets_a_passing_program() -> None:
    wanted = {
        (interface.peer, interface.peer_interface) for node in (*EDGES, *BACKENDS) for interface in node.interfaces
    }
    found = {(router.name, line) for router in ROUTERS for line in file_of(router, "xdp-pass").splitlines()}
    assert found == wanted


@pytest.mark.parametrize("node", [*ROUTERS, *CLIENTS], ids=named)
def test_every_session_has_both_ends_and_a_policy_each_way(node: NodePlan) -> None:
    text = file_of(node, "frr.conf")
    peers = {peer for _, peer, _ in sessions(node)}
    speakers = {i.peer_address for i, other in two_site_plan().neighbours(node) if other.role is not Role.BACKEND}
    assert peers == {str(address) for address in speakers}
    for peer in peers:
        for family in ("ipv4", "ipv6"):
            block = text[text.index(f" address-family {family} unicast\n") :].partition(" exit-address-family")[0]
            assert re.search(rf"^  neighbor {peer} route-map \S+ in$", block, re.M)
            assert re.search(rf"^  neighbor {peer} route-map \S+ out$", block, re.M)
            assert (f"  neighbor {peer} activate\n" in block) == (family == "ipv6")
    used = set(re.findall(r"route-map (\S+)(?: in| out)?$", text, re.M))
    defined = set(re.findall(r"^route-map (\S+) (?:permit|deny) \d+$", text, re.M))
    assert used <= defined


def test_exactly_one_side_of_a_session_calls() -> None:
    """Edges call (ExaBGP does not listen); between FRR speakers one end is passive, so that no calls collide."""
    callers = [
        tuple(sorted((own, peer))) for node in (*ROUTERS, *CLIENTS) for own, peer, calls in sessions(node) if calls
    ]
    callers += [
        tuple(sorted((str(interface.address.ip), str(interface.peer_address))))
        for edge in EDGES
        for interface in edge.interfaces
    ]
    ends = [tuple(sorted((own, peer))) for node in (*ROUTERS, *CLIENTS) for own, peer, _ in sessions(node)]
    assert sorted(callers) == sorted(set(ends))


def sessions(node: NodePlan) -> Iterator[tuple[str, str, bool]]:
    """(own address, peer's address, whether this end calls) of each BGP session in a frr.conf."""
    text = file_of(node, "frr.conf")
    own = {str(interface.peer_address): str(interface.address.ip) for interface in node.interfaces}
    for peer, asn in re.findall(r"^ neighbor (\S+) remote-as (\d+)$", text, re.M):
        assert int(asn) == next(
            other.asn for interface, other in two_site_plan().neighbours(node) if str(interface.peer_address) == peer
        )
        yield own[peer], peer, f" neighbor {peer} passive\n" not in text


@pytest.mark.parametrize("router", [router for router in ROUTERS if router.site], ids=named)
def test_a_site_router_takes_vips_alone_from_edges_and_tells_them_nothing(router: NodePlan) -> None:
    text = file_of(router, "frr.conf")
    vips = [f"ip prefix-list VIPS seq {5 * n} permit {vip}/32" for n, vip in enumerate(two_site_plan().vips4, 1)]
    assert re.findall(r"^ip prefix-list VIPS .*$", text, re.M) == vips
    vips = [f"ipv6 prefix-list VIPS6 seq {5 * n} permit {vip}/128" for n, vip in enumerate(two_site_plan().vips6, 1)]
    assert re.findall(r"^ipv6 prefix-list VIPS6 .*$", text, re.M) == vips
    site_edges = [(i, peer) for i, peer in two_site_plan().neighbours(router) if peer.role is Role.EDGE]
    assert len(site_edges) == 2
    for interface, edge in site_edges:
        assert f"  neighbor {interface.peer_address} route-map FROM-EDGE in\n" in text
        assert f"  neighbor {interface.peer_address} route-map FROM-EDGE6-{edge.name} in\n" in text
        assert text.count(f"  neighbor {interface.peer_address} route-map NOTHING out\n") == 2
        policy = text[text.index(f"route-map FROM-EDGE6-{edge.name} permit 10\n") :].partition("exit\n")[0]
        assert f" set ipv6 next-hop global {interface.peer_address6}\n" in policy
        assert " match ipv6 address prefix-list VIPS6\n" in policy


def test_transit_has_one_exit_for_a_vip_and_site_routers_balance() -> None:
    """ECMP over both sites at transit would send a draining site's packets back to it."""
    for router in ROUTERS:
        paths = re.findall(r"^  maximum-paths (\d+)$", file_of(router, "frr.conf"), re.M)
        assert paths == (["16", "16"] if router.site else ["1", "1"]), "one for each family"


def test_the_documented_addresses_are_the_planned_ones() -> None:
    text = (FILE.parents[1] / "docs" / "lab.md").read_text()
    rows = [
        line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ") and " | eth" not in line
    ]
    found = {row[0]: (row[1], row[2], re.findall(r"([\d.]+) \(", row[4])) for row in rows if len(row) == 5}
    assert found == {
        name: (node.role.value, str(node.asn or "-"), [str(interface.address.ip) for interface in node.interfaces])
        for name, node in two_site_plan().nodes.items()
    }
