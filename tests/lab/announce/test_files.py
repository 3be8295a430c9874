"""The small worlds: addresses, and files that their readers take."""

import shutil
import subprocess
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from edge.backend import config as backend_config
from edge.config import file as config
from lab.announce import files, floor
from lab.announce.plan import Layout, world
from lab.announce.recipes import RECIPES
from lab.announce.rows import BY_NAME

PLACE = "/run/announce/1/e1"
LAYOUTS = {name: layout(BY_NAME[name].kinds[0]) for name, (layout, _) in RECIPES.items()}


def test_two_sites_have_a_transit_router_and_everything_else_twice() -> None:
    found = world(Layout("frr", sites=2, client=True))
    assert list(found.nodes) == ["transit", "r1", "r2", "e1", "e2", "b1", "b2", "client"]
    assert found.pools == {"e1": ("b1",), "e2": ("b2",)}
    assert found.watched == "transit"
    assert found.nodes["e2"].interfaces[0].peer == "r2"
    assert found.nodes["client"].interfaces[0].peer == "transit"


def test_the_ends_of_a_link_know_each_other() -> None:
    found = world(Layout("bird", edges=2, backends=2, client=True))
    for node in found.nodes.values():
        for interface in node.interfaces:
            other = found.nodes[interface.peer].towards(node.name)
            assert (other.address, other.peer_address) == (interface.peer_address, interface.address)
            assert interface.peer_address in IPv4Network((interface.address, 31), strict=False)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_daemon_takes_every_layout(name: str) -> None:
    found = world(LAYOUTS[name])
    for edge in found.having("edge"):
        read = config.load(files.fairhop_yaml(found, edge, PLACE, "nobody"), name)
        assert set(read.prefixes) == set(found.prefixes)
    for backend in found.having("backend"):
        assert set(backend_config.load(files.backend_yaml(found, backend), name).vips) == set(found.vips)


def test_options_go_over_what_is_there_mapping_by_mapping() -> None:
    value = {"announcer": {"asn": 1, "peers": [{"name": "a"}, {"name": "b"}]}, "pools": {"web": {"encap": "ipip"}}}
    over = {"announcer": {"hold_time": 3, "peers": {"bfd": True}}, "pools": {"web": {"check": {"type": "tcp"}}}}
    assert files.merged(value, over) == {
        "announcer": {"asn": 1, "peers": [{"name": "a", "bfd": True}, {"name": "b", "bfd": True}], "hold_time": 3},
        "pools": {"web": {"encap": "ipip", "check": {"type": "tcp"}}},
    }


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("bird", path="/usr/sbin"), reason="BIRD is not installed")
@pytest.mark.parametrize("name", [name for name in LAYOUTS if "bird" in BY_NAME[name].kinds])
def test_bird_takes_every_layout(name: str, tmp_path: Path) -> None:
    found = world(RECIPES[name][0]("bird"))
    for router in found.having("router"):
        (tmp_path / "bird.conf").write_text(files.bird_conf(found, router))
        done = subprocess.run(["/usr/sbin/bird", "-p", "-c", tmp_path / "bird.conf"], capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("vtysh"), reason="FRR is not installed")
@pytest.mark.parametrize("options", [{}, {"bfd": True, "graceful": True}, {"sites": 2}])
def test_vtysh_takes_the_routers(options: dict[str, bool], tmp_path: Path) -> None:
    found = world(Layout("frr", **options))  # type: ignore[arg-type]
    for router in found.having("router"):
        (tmp_path / "frr.conf").write_text(files.frr_conf(found, router))
        done = subprocess.run(["vtysh", "-C", "-f", tmp_path / "frr.conf"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_floors_updates_are_what_rfc_4271_says() -> None:
    prefix = IPv4Network("203.0.113.7/32")
    gone = floor.withdrawal([prefix])
    assert gone == b"\xff" * 16 + b"\x00\x1c\x02" + b"\x00\x05" + b"\x20\xcb\x00\x71\x07" + b"\x00\x00"
    told = floor.announcement([prefix], 65110, IPv4Address("10.90.0.1"))
    attributes = b"\x40\x01\x01\x00" + b"\x40\x02\x04\x02\x01\xfe\x56" + b"\x40\x03\x04\x0a\x5a\x00\x01"
    length = 23 + len(attributes) + 5
    assert told == b"\xff" * 16 + bytes([0, length, 2, 0, 0, 0, len(attributes)]) + attributes + gone[21:26]
