"""What a process may do in an unprivileged lab node: all that routers, edges and backends need, and no more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.clab.runtime import ContainerlabRuntime
from tests.containerlab import tier
from tests.containerlab.conftest import MakeRuntime

pytestmark = [pytest.mark.containerlab, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def pair(make_runtime: MakeRuntime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerlabRuntime]:
    """The pair with `right` as a host: the image that has everything."""
    folder = tmp_path_factory.mktemp("node")
    text = (tier.HERE / "pair.clab.yml").read_text().replace("fh-clab-pair", "fh-clab-node")
    text = text.replace("right: {", "right: {image: fairhop-lab/host:local, ")
    (folder / "pair.clab.yml").write_text(text)
    (folder / "pair").symlink_to(tier.HERE / "pair")
    runtime = make_runtime(folder / "pair.clab.yml")
    try:
        runtime.deploy(lambda _: None)
        yield runtime
    finally:
        runtime.destroy(lambda _: None)


def sh(runtime: ContainerlabRuntime, node: str, script: str) -> str:
    """By `docker exec`, unlike `Runtime.exec`: with the capabilities and system calls of the node's own programs."""
    names = {each.name: f"clab-fh-clab-node-{each.name}" for each in runtime.nodes()}
    return tier.run("docker", "exec", names[node], "sh", "-ec", script)


def test_a_native_xdp_program_attaches_from_the_packaged_objects(pair: ContainerlabRuntime) -> None:
    attach = 'ip -force link set dev eth1 xdpdrv object "$FAIRHOP_BPF/pass.bpf.o" section xdp; ip link show dev eth1'
    for node in ("left", "right"):
        shown = sh(pair, node, attach)
        assert " xdp " in shown.replace("\n", " ")
        assert "xdpgeneric" not in shown


def test_a_bpf_file_system_mounts_and_is_the_nodes_own(pair: ContainerlabRuntime) -> None:
    for node in ("left", "right"):
        sh(pair, node, "mkdir -p /run/bpf; mountpoint -q /run/bpf || mount -t bpf bpf /run/bpf")
    sh(pair, "left", "mkdir -p /run/bpf/mine")
    assert "mine" not in sh(pair, "right", "ls /run/bpf")


def test_a_process_can_give_up_every_capability(pair: ContainerlabRuntime) -> None:
    status = sh(
        pair,
        "right",
        "setpriv --reuid nobody --regid nogroup --clear-groups --no-new-privs --bounding-set -all --inh-caps -all"
        " grep -E '^(Uid|Cap|NoNewPrivs)' /proc/self/status",
    )
    fields = {name.rstrip(":"): values for name, *values in map(str.split, status.splitlines())}
    assert fields.pop("Uid") == ["65534"] * 4
    assert fields.pop("NoNewPrivs") == ["1"]
    assert {tuple(values) for values in fields.values()} == {("0" * 16,)}


def test_sysctls_come_from_the_topology_and_from_nowhere_else(pair: ContainerlabRuntime) -> None:
    assert sh(pair, "left", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/rp_filter") == "1\n0\n"
    with pytest.raises(AssertionError, match="Read-only file system"):
        sh(pair, "left", "echo 0 > /proc/sys/net/ipv4/ip_forward")


def test_the_installed_command_and_its_speaker_run_there(pair: ContainerlabRuntime) -> None:
    assert "fairhop, version" in sh(pair, "right", "fairhop --version")
    assert "5.0." in sh(pair, "right", "exabgp version")


def test_nginx_and_frr_run_there(pair: ContainerlabRuntime) -> None:
    sh(pair, "right", "nginx -t")
    sh(pair, "right", "nginx; nginx -s quit")
    for node in ("left", "right"):
        sh(pair, node, "install -d -o frr -g frr /run/frr; /usr/lib/frr/zebra -d -A 127.0.0.1; vtysh -c 'show version'")


def test_the_images_hold_no_start_script_of_their_own(pair: ContainerlabRuntime) -> None:
    """It is bound from the tree, so that both runtimes run the same one."""
    assert Path(tier.ROOT / "containerlab/images/node-start").exists()
    assert pair.exec("left", ["test", "-e", "/usr/local/bin/node-start"]).returncode == 1
