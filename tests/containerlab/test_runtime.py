"""What `lab.runtime.Runtime` promises, on real containerlab: two nodes, one link."""

import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.clab.runtime import ContainerlabRuntime
from lab.observe.inside import inside
from lab.runtime import LabError
from tests.containerlab import tier
from tests.containerlab.conftest import MakeRuntime

pytestmark = [pytest.mark.containerlab, pytest.mark.timeout(1500)]

PAIR = tier.HERE / "pair.clab.yml"
LAB = "fh-clab-pair"
GRACE = 10.0  # s that a node has to end before it is killed


def silent(_: str) -> None:
    """A progress that nobody watches."""


@pytest.fixture(scope="module")
def deployed(make_runtime: MakeRuntime) -> Iterator[ContainerlabRuntime]:
    runtime = make_runtime(PAIR)
    runtime.destroy(silent)
    try:
        yield runtime
    finally:
        runtime.destroy(silent)


@pytest.fixture
def pair(deployed: ContainerlabRuntime) -> ContainerlabRuntime:
    """The two nodes, up and ready whatever the test before left: deploy repairs what is not as described."""
    deployed.deploy(silent)
    return deployed


def pids(runtime: ContainerlabRuntime) -> dict[str, int]:
    return {node.name: node.pid for node in runtime.nodes()}


def output(runtime: ContainerlabRuntime, node: str, *argv: str) -> str:
    done = runtime.exec(node, argv)
    assert done.returncode == 0, done
    return done.stdout


def pings(runtime: ContainerlabRuntime) -> bool:
    return runtime.exec("right", ["ping", "-c", "3", "-i", "0.2", "-W", "1", "10.0.0.0"]).returncode == 0


def traces() -> set[str]:
    return tier.traces(LAB)


def test_deploy_returns_with_ready_nodes_and_links(pair: ContainerlabRuntime) -> None:
    assert [(node.name, node.state) for node in pair.nodes()] == [("left", "running"), ("right", "running")]
    assert all(node.labels["fairhop.role"] == "router" for node in pair.nodes())
    assert "10.0.0.0/31" in output(pair, "left", "ip", "-brief", "address", "show", "eth1")
    assert pings(pair)


def test_a_second_deploy_changes_nothing(pair: ContainerlabRuntime) -> None:
    before = pids(pair)
    pair.deploy(silent)
    assert pids(pair) == before


def test_deploy_says_what_it_does(deployed: ContainerlabRuntime) -> None:
    deployed.destroy(silent)
    said: list[str] = []
    deployed.deploy(said.append)
    assert any("Created link: left:eth1" in line for line in said)


def test_a_command_has_the_nodes_environment_and_its_own_exit_code(pair: ContainerlabRuntime) -> None:
    done = pair.exec("left", ["sh", "-c", 'echo "$GREETING"; echo no >&2; exit 3'])
    assert (done.returncode, done.stdout, done.stderr) == (3, "hello there\n", "no\n")


def test_a_command_out_of_time_is_killed_in_the_node(pair: ContainerlabRuntime) -> None:
    with pytest.raises(LabError, match=r"^node left: 'sleep 4711' took longer than 0.3 s$"):
        pair.exec("left", ["sleep", "4711"], timeout=0.3)
    assert "4711" not in output(pair, "left", "ps", "-eo", "args")


def test_a_spawned_command_talks_over_text_pipes(pair: ContainerlabRuntime) -> None:
    with pair.spawn("left", ["cat"]) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("a line\n")
        process.stdin.flush()
        assert process.stdout.readline() == "a line\n"
        process.stdin.close()
        assert process.wait(5) == 0


def test_a_signal_reaches_the_spawned_command_itself(pair: ContainerlabRuntime) -> None:
    with pair.spawn(
        "left", ["sh", "-c", "trap 'echo got it; exit 7' TERM; echo up; while :; do sleep 0.1; done"]
    ) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == "up\n"
        it.terminate()
        assert it.stdout.read() == "got it\n"
        assert it.wait(5) == 7


def test_a_command_that_the_node_does_not_have_is_named(pair: ContainerlabRuntime) -> None:
    with pytest.raises(LabError, match=r"^left: `no-such-command` cannot run: No such file or directory$"):
        pair.exec("left", ["no-such-command", "--now"])


def test_netns_opens_as_the_nodes_own_namespace(pair: ContainerlabRuntime) -> None:
    opened = inside(pair.netns("left"), lambda: Path("/proc/thread-self/ns/net").stat().st_ino)
    assert output(pair, "left", "readlink", "/proc/self/ns/net").strip() == f"net:[{opened}]"


def test_a_killed_node_is_dead_at_once_and_its_links_stay_up(pair: ContainerlabRuntime) -> None:
    with pair.spawn("left", ["sh", "-c", "trap '' TERM; echo up; sleep 4714"]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        watched = os.pidfd_open(pids(pair)["left"])
        try:
            pair.kill("left")
            assert select.select([watched], [], [], 0)[0], "PID 1 must be dead when kill returns"
        finally:
            os.close(watched)
        assert process.wait(5) != 0
    assert next((node.state, node.pid) for node in pair.nodes()) == ("exited", 0)
    assert output(pair, "right", "cat", "/sys/class/net/eth1/carrier") == "1\n"
    assert inside(pair.netns("left"), Path("/proc/thread-self/net/dev_snmp6/eth1").exists)


def test_the_peer_never_loses_carrier_by_a_kill(pair: ContainerlabRuntime) -> None:
    changes = ["cat", "/sys/class/net/eth1/carrier_down_count"]
    before = output(pair, "right", *changes)
    pair.kill("left")
    time.sleep(0.5)
    assert output(pair, "right", *changes) == before


def test_a_killed_node_starts_with_the_links_it_had(pair: ContainerlabRuntime) -> None:
    address = ["cat", "/sys/class/net/eth1/address"]
    before = output(pair, "left", *address), output(pair, "right", *address), pids(pair)
    pair.kill("left")
    pair.start("left")
    assert (output(pair, "left", *address), output(pair, "right", *address)) == before[:2]
    assert pids(pair)["right"] == before[2]["right"]
    assert "10.0.0.0/31" in output(pair, "left", "ip", "-brief", "address", "show", "eth1")
    assert pings(pair)
    assert not list(Path("/run/netns").glob(f"clab-park-*{LAB}*"))


def test_a_stopped_node_keeps_its_links_and_so_does_a_restarted_one(pair: ContainerlabRuntime) -> None:
    carrier = ["cat", "/sys/class/net/eth1/carrier_down_count"]
    before = output(pair, "right", *carrier), pids(pair)
    pair.stop("left")
    assert next((node.state, node.pid) for node in pair.nodes()) == ("exited", 0)
    assert output(pair, "right", *carrier) == before[0]
    pair.stop("left")  # a dead node is stopped
    pair.start("left")
    assert pings(pair)
    pair.restart("left")
    assert pids(pair)["left"] not in (0, before[1]["left"])
    assert pids(pair)["right"] == before[1]["right"]
    assert pings(pair)


def test_stop_asks_a_nodes_program_before_it_kills(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    """The program says so in Docker's log; killed, it could not."""
    command = "sh -c 'trap \"echo asked; exit 0\" TERM; sh /lab/start & wait'"
    text = PAIR.read_text().replace("fh-clab-pair", "fh-clab-stop").replace("sh /lab/start", command)
    (tmp_path / "pair.clab.yml").write_text(text)
    (tmp_path / "pair").symlink_to(tier.HERE / "pair")
    runtime = make_runtime(tmp_path / "pair.clab.yml")
    try:
        runtime.deploy(silent)
        began = time.monotonic()
        runtime.stop("left")
        assert time.monotonic() - began < GRACE
        assert "asked" in tier.run("docker", "logs", "clab-fh-clab-stop-left")
        runtime.kill("right")
        assert "asked" not in tier.run("docker", "logs", "clab-fh-clab-stop-right")
    finally:
        runtime.destroy(silent)


def test_deploy_starts_a_killed_node(pair: ContainerlabRuntime) -> None:
    right = pids(pair)["right"]
    pair.kill("left")
    pair.deploy(silent)
    assert pids(pair)["right"] == right
    assert pings(pair)


def test_deploy_repairs_a_node_that_died_without_us(pair: ContainerlabRuntime) -> None:
    tier.run("docker", "kill", f"clab-{LAB}-left")
    with pytest.raises(LabError, match=r"^left: no links are kept for it"):
        pair.start("left")
    pair.deploy(silent)
    assert pings(pair)


@pytest.mark.parametrize("life", ["", "sleep 1.5; "])
def test_a_node_that_ends_while_it_starts_is_reported_with_its_words(
    make_runtime: MakeRuntime, tmp_path: Path, pair: ContainerlabRuntime, life: str
) -> None:
    pair.destroy(silent)
    text = PAIR.read_text().replace("sh /lab/start", f"sh -c '{life}echo no such config; exit 1'")
    (tmp_path / "pair.clab.yml").write_text(text)
    (tmp_path / "pair").symlink_to(tier.HERE / "pair")
    runtime = make_runtime(tmp_path / "pair.clab.yml")
    # Both nodes end; which of them Docker lets end first is not ours to say.
    with pytest.raises(LabError, match=r"(left|right) (has )?ended.*no such config"):
        runtime.deploy(silent)
    runtime.destroy(silent)
    assert traces() == set()


def test_refusals_name_the_node_and_the_reason(pair: ContainerlabRuntime) -> None:
    with pytest.raises(LabError, match=r"^no node 'middle' in lab fh-clab-pair: it has left, right$"):
        pair.exec("middle", ["true"])
    with pytest.raises(LabError, match=r"^left: no links are kept for it, so it was not killed"):
        pair.start("left")
    pair.kill("left")
    with pytest.raises(LabError, match=r"^left: does not run \(exited\)$"):
        pair.kill("left")
    with pytest.raises(LabError, match=r"^left: does not run \(exited\)$"):
        pair.exec("left", ["true"])


def test_a_lab_that_another_runtime_has_up_is_left_alone(pair: ContainerlabRuntime) -> None:
    pair.destroy(silent)
    theirs = f"clab-{LAB}-left"
    tier.run("ip", "netns", "add", theirs)
    try:
        with pytest.raises(LabError, match=f"^/run/netns/{theirs} is there already: another runtime has this lab up"):
            pair.deploy(silent)
        pair.destroy(silent)
        assert Path("/run/netns", theirs).exists()
    finally:
        tier.run("ip", "netns", "delete", theirs)


def test_a_missing_image_is_named_with_the_command_that_makes_it(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    text = PAIR.read_text().replace("fairhop-lab/router:local", "fairhop-lab/nobody:local")
    (tmp_path / "pair.clab.yml").write_text(text)
    with pytest.raises(LabError, match=r"^Docker has no image fairhop-lab/nobody:local: .*make images"):
        make_runtime(tmp_path / "pair.clab.yml").deploy(silent)


def test_destroy_leaves_nothing_not_even_of_a_killed_node(pair: ContainerlabRuntime) -> None:
    assert traces()
    pair.kill("left")
    pair.destroy(silent)
    assert traces() == set()
    assert [node.state for node in pair.nodes()] == ["absent", "absent"]
    pair.destroy(silent)


def test_destroy_removes_links_that_no_node_was_given_yet(pair: ContainerlabRuntime) -> None:
    link = ("clab-0a1b2c3d", "clab-4e5f6a7b")
    tier.run("ip", "link", "add", link[0], "type", "veth", "peer", "name", link[1])
    tier.run("ip", "link", "add", "clab-keep-me", "type", "veth", "peer", "name", "keep-me")
    try:
        pair.destroy(silent)
        assert traces() == {"clab-keep-me"}
    finally:
        tier.run("ip", "link", "delete", "clab-keep-me")


def test_destroy_leaves_links_alone_while_another_lab_is_up(pair: ContainerlabRuntime) -> None:
    link = ("clab-0a1b2c3d", "clab-4e5f6a7b")
    tier.run("ip", "link", "add", link[0], "type", "veth", "peer", "name", link[1])
    image = ("fairhop-lab/router:local", "sleep", "600")
    tier.run(
        "docker", "run", "--detach", "--name", "fh-other", "--network", "none", "--label", "containerlab=other", *image
    )
    try:
        pair.destroy(silent)
        assert set(link) <= traces()
    finally:
        tier.run("docker", "rm", "--force", "fh-other")
        tier.run("ip", "link", "delete", link[0])


def test_destroy_cleans_after_a_deploy_that_was_shot(pair: ContainerlabRuntime) -> None:
    for delay in (0.15, 0.3, 0.45):
        pair.destroy(silent)
        with subprocess.Popen(
            [os.environ["FAIRHOP_CONTAINERLAB"], "deploy", "--topo", PAIR],
            env={**os.environ, "CLAB_VERSION_CHECK": "disable", "CLAB_LABDIR_BASE": "/run/fairhop-lab/containerlab"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as deploy:
            time.sleep(delay)
            os.killpg(deploy.pid, 9)
        time.sleep(1)  # Docker still carries out what it was asked last
        pair.destroy(silent)
        assert traces() == set()
