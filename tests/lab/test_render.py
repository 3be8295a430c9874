"""The committed files are the rendered ones, and what they promise: binds, policies, numbers that must agree."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from edge.config import file as config
from edge.datapath.model import Encap
from lab.addressing import NodePlan, Role
from lab.render.folder import Difference, compare, write
from tests.lab import labs
from tests.lab.labs import NAMES, named
from tests.lab.two_site import FILE, two_site_plan


def has_agent(name: str, node: NodePlan) -> bool:
    """Whether fairhop's own receiver takes the tunnels of the node."""
    return labs.plan(name).takes_tunnels(node) and node.receiver == "fairhop"


# What the files of other routers, targets and receivers promise is tested in test_other_renderers.
EDGES = [(name, node) for name, node in labs.nodes(Role.EDGE) if node.target == "fairhop"]
BACKENDS = [(name, node) for name, node in labs.nodes(Role.BACKEND, Role.PROXY) if has_agent(name, node)]
SPEAKERS = [(name, node) for name, node in labs.nodes(Role.ROUTER, Role.CLIENT) if node.router == "frr"]
SITE_ROUTERS = [(name, node) for name, node in SPEAKERS if node.role is Role.ROUTER and node.site]
NODE_START = FILE.parent / "images" / "node-start"
FRR_LABS = [name for name in NAMES if all(one.router == "frr" for one in labs.plan(name).having(Role.ROUTER))]
every_lab = pytest.mark.parametrize("name", NAMES)
every_lab_with_our_edges = pytest.mark.parametrize("name", sorted({name for name, _ in EDGES}))
every_lab_of_frr = pytest.mark.parametrize("name", FRR_LABS)


def test_what_is_chosen_leaves_no_lab_out_by_mistake() -> None:
    assert {name for name, _ in EDGES} == {*NAMES} - {"haproxy", "nft"}
    assert {name for name, _ in BACKENDS} == {*NAMES} - {"haproxy", "nft", "stock"}
    assert {*FRR_LABS} == {*NAMES} - {"bird", "gobgp"}


def file_of(lab: str, node: NodePlan, name: str) -> str:
    return labs.files(lab)[f"{lab}/{node.name}/{name}"]


@every_lab
def test_the_committed_files_are_the_rendered_ones(name: str) -> None:
    assert compare(FILE.parent, labs.files(name)) == Difference()


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


@every_lab
def test_every_bind_has_its_source(name: str) -> None:
    binds = [(node, bind) for node, described in labs.topology(name).nodes.items() for bind in described.binds]
    missing = [f"{node}: {bind.source}" for node, bind in binds if not (FILE.parent / bind.source).exists()]
    assert binds
    assert not missing


@every_lab
def test_every_node_starts_by_the_script_in_its_role(name: str) -> None:
    assert {node: described.command for node, described in labs.topology(name).nodes.items()} == {
        node: ("node-start", planned.role.value) for node, planned in labs.plan(name).nodes.items()
    }


def test_the_script_is_one_that_a_shell_takes() -> None:
    assert NODE_START.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", NODE_START], check=True)


@every_lab
def test_only_routers_forward_and_all_hash_by_ports(name: str) -> None:
    planned, nodes = labs.plan(name).nodes.values(), labs.topology(name).nodes
    wanted = {node.name: "1" if node.role is Role.ROUTER or node.target == "nft" else "0" for node in planned}
    assert {node: one.sysctls["net.ipv4.ip_forward"] for node, one in nodes.items()} == wanted
    assert {node: one.sysctls["net.ipv6.conf.all.forwarding"] for node, one in nodes.items()} == wanted
    for one in nodes.values():
        for family in ("ipv4", "ipv6"):
            policy = one.sysctls[f"net.{family}.fib_multipath_hash_policy"]
            ports = int(one.sysctls.get(f"net.{family}.fib_multipath_hash_fields", "0")) & 0x30
            assert policy == "1" or (policy, ports) == ("3", 0x30)
    assert {link.mtu for link in labs.topology(name).links} == {1500}


def test_leaves_do_not_hash_what_spines_hash() -> None:
    """All nodes share a kernel and its hash: the same fields in two tiers in a row would leave edges idle."""
    plan, nodes = labs.plan("spine-leaf"), labs.topology("spine-leaf").nodes
    keys = ("net.ipv4.fib_multipath_hash_policy", "net.ipv4.fib_multipath_hash_fields")
    hashed = {name: tuple(node.sysctls.get(key) for key in keys) for name, node in nodes.items()}
    tiers = [
        (router.name, peer.name)
        for router in plan.having(Role.ROUTER, "a")
        for _, peer in plan.neighbours(router)
        if peer.role is Role.ROUTER and peer.site
    ]
    assert tiers
    assert all(hashed[one] != hashed[other] for one, other in tiers)


@pytest.mark.parametrize(("name", "edge"), EDGES, ids=named)
def test_fairhop_yaml_is_one_that_the_daemon_accepts(name: str, edge: NodePlan) -> None:
    lab = labs.plan(name)
    found = config.load(file_of(name, edge, "fairhop.yaml"), "fairhop.yaml")
    assert found.node == edge.name
    assert set(found.vips) == set(lab.vips)
    assert [(p.name, p.asn, p.local_address, p.local_address6 or p.local_address) for p in found.announcer.peers] == [
        (i.peer, lab.nodes[i.peer].asn, lab.own(i), i.address6.ip) for i in edge.interfaces
    ]
    assert {vip.version for vip in lab.vips} == {4, 6}
    pools = {name: pool.tunnel for name, pool in found.pools.items()}
    assert pools == {service.name: service.encap for service in lab.services}
    backends = [receiver.name for receiver in lab.receivers(edge.site)]
    for pool in found.pools.values():
        assert [entry.name for entry in pool.backends] == backends
        assert {entry.address.version for entry in pool.backends} == {lab.underlay}
    services = [(one.transport.name, one.port, one.pool) for one in found.services]
    assert services == [(protocol.name, port, one.name) for one in lab.services for protocol, port in one.ports]
    if name not in ("bird", "two-tier"):  # those have services of their own
        assert pools == {"web": Encap.GRE, "echo": Encap.IPIP}
        assert services == [("TCP", 80, "web"), ("TCP", 7000, "echo"), ("UDP", 7000, "echo")]


@every_lab_with_our_edges
def test_the_edges_of_a_site_compute_one_table(name: str) -> None:
    """What goes into the lookup_table must be equal; seed and size even over all sites."""
    edges = labs.plan(name).having(Role.EDGE)
    loaded = {edge: config.load(file_of(name, edge, "fairhop.yaml"), "fairhop.yaml") for edge in edges}
    assert len({one.hashing for one in loaded.values()}) == 1
    for site in {edge.site for edge in edges}:
        assert len({repr((one.pools, one.services)) for edge, one in loaded.items() if edge.site == site}) == 1


@pytest.mark.parametrize(("name", "backend"), BACKENDS, ids=named)
def test_a_backend_lets_in_exactly_the_tunnels_of_its_sites_edges(name: str, backend: NodePlan) -> None:
    lab = labs.plan(name)
    read = yaml.safe_load(file_of(name, backend, "backend.yaml"))
    forwarders = [
        config.load(file_of(name, edge, "fairhop.yaml"), "").forwarder for edge in lab.having(Role.EDGE, backend.site)
    ]
    sources = [one.outer_source if lab.underlay == 4 else one.outer_source6 for one in forwarders]
    assert read["edges"] == [str(source) for source in sources]
    assert read["address"] == str(lab.outer(backend))
    advmss, advmss6 = map(int, re.findall(r"^route .* advmss (\d+)$", file_of(name, backend, "net.batch"), re.M))
    assert read["advmss"] == advmss
    assert read["advmss6"] == advmss6
    outer = 20 if lab.underlay == 4 else 40
    for mss, header in ((advmss, 20), (advmss6, 40)):
        assert mss + 20 + header + 4 + outer <= backend.interfaces[0].mtu, "IP, TCP and GRE over IP must fit the link"
    if backend.role is Role.BACKEND:
        assert f"add_header X-Backend {backend.name} always;" in file_of(name, backend, "nginx.conf")


@every_lab
def test_every_peer_of_native_xdp_gets_a_passing_program(name: str) -> None:
    lab = labs.plan(name)
    edges = [edge for edge in lab.having(Role.EDGE) if edge.target == "fairhop"]
    hosts = [node for role in (Role.BACKEND, Role.PROXY) for node in lab.having(role)]
    users = [*edges, *(node for node in hosts if node.receiver == "fairhop" and lab.takes_tunnels(node))]
    wanted = {(interface.peer, interface.peer_interface) for node in users for interface in node.interfaces}
    routers = lab.having(Role.ROUTER)
    found = {(router.name, line) for router in routers for line in file_of(name, router, "xdp-pass").splitlines()}
    assert found == wanted


@pytest.mark.parametrize(("name", "node"), SPEAKERS, ids=named)
def test_every_session_has_both_ends_and_a_policy_each_way(name: str, node: NodePlan) -> None:
    lab, text = labs.plan(name), file_of(name, node, "frr.conf")
    peers = {peer for _, peer, _ in sessions(name, node)}
    assert peers == {str(lab.far(i)) for i, other in lab.neighbours(node) if other.asn}
    for peer in peers:
        for family in ("ipv4", "ipv6"):
            block = text[text.index(f" address-family {family} unicast\n") :].partition(" exit-address-family")[0]
            assert re.search(rf"^  neighbor {peer} route-map \S+ in$", block, re.M)
            assert re.search(rf"^  neighbor {peer} route-map \S+ out$", block, re.M)
            assert (f"  neighbor {peer} activate\n" in block) == (family == "ipv6" or lab.underlay == 6)
    used = set(re.findall(r" route-map (\S+)(?: in| out)?$", text, re.M))
    defined = set(re.findall(r"^route-map (\S+) (?:permit|deny) \d+$", text, re.M))
    assert used <= defined
    for kind in ("prefix-list", "as-path"):
        used = set(re.findall(rf"^ match .*{kind} (\S+)$", text, re.M))
        defined = set(re.findall(rf"^(?:ip |ipv6 |bgp ){kind}(?: access-list)? (\S+) seq ", text, re.M))
        assert used <= defined, "what FRR does not know matches nothing"


@every_lab_of_frr
def test_exactly_one_side_of_a_session_calls(name: str) -> None:
    """Edges call (ExaBGP does not listen); between FRR speakers one end is passive, so that no calls collide."""
    lab = labs.plan(name)
    speakers = (*lab.having(Role.ROUTER), *lab.having(Role.CLIENT))
    both = [found for node in speakers for found in sessions(name, node)]
    callers = [tuple(sorted((own, peer))) for own, peer, calls in both if calls]
    callers += [
        tuple(sorted((str(lab.own(interface)), str(lab.far(interface)))))
        for edge in lab.having(Role.EDGE)
        for interface in edge.interfaces
    ]
    assert sorted(callers) == sorted({tuple(sorted((own, peer))) for own, peer, _ in both})


def sessions(name: str, node: NodePlan) -> Iterator[tuple[str, str, bool]]:
    """(own address, peer's address, whether this end calls) of each BGP session in a frr.conf."""
    lab, text = labs.plan(name), file_of(name, node, "frr.conf")
    own = {str(lab.far(interface)): str(lab.own(interface)) for interface in node.interfaces}
    for peer, asn in re.findall(r"^ neighbor (\S+) remote-as (\d+)$", text, re.M):
        assert int(asn) == next(
            other.asn for interface, other in lab.neighbours(node) if str(lab.far(interface)) == peer
        )
        yield own[peer], peer, f" neighbor {peer} passive\n" not in text


@pytest.mark.parametrize(("name", "router"), SITE_ROUTERS, ids=named)
def test_a_site_router_takes_vips_alone_from_edges_and_tells_them_nothing(name: str, router: NodePlan) -> None:
    lab, text = labs.plan(name), file_of(name, router, "frr.conf")
    vips = [f"ip prefix-list VIPS seq {5 * n} permit {vip}/32" for n, vip in enumerate(lab.vips4, 1)]
    assert re.findall(r"^ip prefix-list VIPS .*$", text, re.M) == vips
    vips = [f"ipv6 prefix-list VIPS6 seq {5 * n} permit {vip}/128" for n, vip in enumerate(lab.vips6, 1)]
    assert re.findall(r"^ipv6 prefix-list VIPS6 .*$", text, re.M) == vips
    for interface, edge in lab.neighbours(router):
        if edge.role is Role.EDGE:
            policy6 = f"FROM-EDGE6-{edge.name}" if lab.underlay == 4 else "FROM-EDGE6"
            hop = f"global {interface.peer_address6}" if lab.underlay == 4 else "peer-address"
            assert f"  neighbor {lab.far(interface)} route-map FROM-EDGE in\n" in text
            assert f"  neighbor {lab.far(interface)} route-map {policy6} in\n" in text
            assert text.count(f"  neighbor {lab.far(interface)} route-map NOTHING out\n") == 2
            policy = text[text.index(f"route-map {policy6} permit 10\n") :].partition("exit\n")[0]
            assert f" set ipv6 next-hop {hop}\n" in policy
            assert " match ipv6 address prefix-list VIPS6\n" in policy


@every_lab_of_frr
def test_outside_sites_a_vip_has_one_exit_and_site_routers_balance(name: str) -> None:
    """ECMP over two sites at transit would send a draining site's packets back to it."""
    for router in labs.plan(name).having(Role.ROUTER):
        paths = re.findall(r"^  maximum-paths (\d+)$", file_of(name, router, "frr.conf"), re.M)
        assert paths == (["16", "16"] if router.site else ["1", "1"]), "one for each family"


@every_lab_of_frr
def test_both_ends_of_a_bfd_session_have_it_and_no_other_has(name: str) -> None:
    lab = labs.plan(name)
    routers = {
        (router.name, peer.name)
        for router in lab.having(Role.ROUTER)
        for interface, peer in lab.neighbours(router)
        if f" neighbor {lab.far(interface)} bfd profile EDGE\n" in file_of(name, router, "frr.conf")
    }
    edges = {(peer, edge.name) for edge in lab.having(Role.EDGE) for peer in _peers_with_bfd(name, edge)}
    assert routers == edges
    assert bool(routers) == (name in {"one-site", "haproxy", "nft"})


def _peers_with_bfd(name: str, edge: NodePlan) -> Iterator[str]:
    """The routers that an edge has BFD with, in what it speaks BGP by: fairhop, or BIRD beside another system."""
    if edge.target == "fairhop":
        announcer = config.load(file_of(name, edge, "fairhop.yaml"), "").announcer
        yield from (peer.name for peer in announcer.peers if announcer.bfd and peer.bfd != "off")
        return
    for protocol in file_of(name, edge, "bird.conf").split("protocol bgp ")[1:]:
        if "bfd {" in protocol:
            yield protocol.partition('description "router ')[2].partition('"')[0]


def test_the_times_of_bfd_are_those_of_the_labels() -> None:
    lab = labs.plan("one-site")
    router, edge = file_of("one-site", lab.nodes["a-r1"], "frr.conf"), lab.nodes["a-e1"]
    wanted = "  detect-multiplier 3\n  receive-interval 60\n  transmit-interval 60\n"
    assert f"bfd\n profile EDGE\n{wanted}" in router
    bfd = config.load(file_of("one-site", edge, "fairhop.yaml"), "").announcer.bfd
    assert bfd is not None
    assert (bfd.tx, bfd.rx, bfd.multiplier) == (0.06, 0.06, 3)
    assert not re.search("^bfd$", file_of("one-site", lab.nodes["transit"], "frr.conf"), re.M), (
        "nobody to speak it with"
    )


def test_over_ipv6_links_no_ipv4_address_of_a_link_is_anywhere() -> None:
    for path, text in labs.files("ipv6-only").items():
        assert not re.search(r"\b10\.0\.\d+\.\d+(?!/16)\b", text), path


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
