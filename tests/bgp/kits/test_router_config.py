"""`fairhop router-config`: from nodes' files to a kit, and everything that is refused."""

import json
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bgp.kits.model import Bfd, KitError
from edge.announcer.router_kit import Choices, kit_for
from edge.cli.router_config import router_config
from edge.config import file as config

ROOT = Path(__file__).resolve().parents[3]
SITE = ROOT / "containerlab" / "two-site"
EDGES = [SITE / name / "fairhop.yaml" for name in ("a-e1", "a-e2")]


def call(*words: str, files: Sequence[Path] = EDGES) -> Result:
    return CliRunner().invoke(router_config, [*words, *(word for file in files for word in ("--config", str(file)))])


def changed(tmp_path: Path, *replacements: tuple[str, str], name: str = "a-e1") -> Path:
    """A node's file with some words replaced."""
    text = (SITE / name / "fairhop.yaml").read_text()
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    file = tmp_path / f"{name}.yaml"
    file.write_text(text)
    return file


def rich(tmp_path: Path, more: str, announcer: str = "") -> Path:
    """a-e1 with more keys for its peer a-r1, and for its announcer."""
    text = (SITE / "a-e1" / "fairhop.yaml").read_text()
    line = next(line for line in text.splitlines() if "a-r1" in line and "address" in line)
    text = text.replace(line, line.rstrip().removesuffix("}") + f", {more}}}", 1)
    text = text.replace("announcer:\n", f"announcer:\n{announcer}", 1)
    file = tmp_path / "rich.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("kind", ["frr", "bird", "gobgp"])
def test_all_edges_of_a_router_are_in_its_kit(kind: str) -> None:
    done = call("--for", kind, "--peer", "a-r1")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "10.0.5.1" in done.stdout
    assert "10.0.7.1" in done.stdout
    assert "203.0.113.10/32" in done.stdout
    assert "10.0.6.1" not in done.stdout, "that is towards a-r2"


def test_an_unknown_peer_is_refused_with_the_nearest() -> None:
    done = call("--for", "frr", "--peer", "a-r9")
    assert (done.exit_code, done.stdout) == (78, "")
    assert done.stderr == "fairhop: no node has a peer 'a-r9'; did you mean 'a-r2'?\n"


def test_without_a_peer_the_names_are_told() -> None:
    done = call("--for", "frr")
    assert done.exit_code == 78
    assert done.stderr == "fairhop: these nodes have 2 peers: expected --peer with one of a-r1, a-r2\n"


def test_nodes_that_are_not_the_routers_are_left_out() -> None:
    done = call("--for", "bird", "--peer", "a-r1", "--json", files=[*EDGES, SITE / "b-e1" / "fairhop.yaml"])
    facts = json.loads(done.stdout)
    assert [one["edge"] for one in facts["edges"]] == ["a-e1", "a-e2"]
    assert facts["config"].startswith("# a-r1 for the edges a-e1, a-e2:")
    assert (facts["router"], facts["asn"], facts["for"], facts["hold_time"]) == ("a-r1", 65101, "bird", 3)
    assert facts["sysctls"]["net.ipv4.fib_multipath_hash_policy"] == 1


def test_nodes_that_disagree_or_come_twice_are_refused(tmp_path: Path) -> None:
    other = changed(tmp_path, ("asn: 65101", "asn: 65109"), name="a-e2")
    done = call("--for", "frr", "--peer", "a-r1", files=[EDGES[0], other])
    assert done.stderr == "fairhop: node a-e2 has AS 65109 for a-r1, node a-e1 has 65101: expected one ASN\n"
    done = call("--for", "frr", "--peer", "a-r1", files=[EDGES[0], EDGES[0]])
    assert done.stderr == "fairhop: 2 files are of node a-e1: expected one for each edge\n"


def test_a_bad_file_is_told_as_everywhere(tmp_path: Path) -> None:
    done = call("--for", "frr", files=[changed(tmp_path, ("asn: 65101", "asn: 0"))])
    assert done.exit_code == 78
    assert "a-e1.yaml:" in done.stderr
    assert call("--for", "frr", files=[tmp_path / "absent.yaml"]).exit_code == 78


def test_what_the_peer_says_of_its_session_is_mapped(tmp_path: Path) -> None:
    more = "multihop: 3, md5_file: /etc/fairhop/key, passive: true, port: 1790, bfd: {tx: 0.01, multiplier: 4}"
    told = "  bfd: {rx: 0.02}\n  graceful_restart: {time: 30}\n  attributes: {announced: {communities: ['65110:7']}}\n"
    text = rich(tmp_path, more, told).read_text()
    kit = kit_for([config.load(text, "rich.yaml")], "a-r1", Choices())
    [one] = kit.sessions
    assert (one.gtsm, one.multihop, one.has_md5, one.md5, one.edge_passive, one.port) == (
        False,
        3,
        True,
        None,
        True,
        1790,
    )
    assert one.bfd == Bfd(10, 20, 4), "the router receives what the edge transmits"
    assert kit.options.graceful_restart
    assert kit.options.communities == ("65110:7",)
    keyed = rich(
        tmp_path, "bfd: {auth: {type: sha1, key_id: 1, key_file: /etc/fairhop/key}}", "  bfd: {}\n"
    ).read_text()
    assert kit_for([config.load(keyed, "rich.yaml")], "a-r1", Choices()).sessions[0].bfd_auth
    guarded = config.load(rich(tmp_path, "ttl_security: true").read_text(), "rich.yaml")
    assert kit_for([guarded], "a-r1", Choices()).sessions[0].gtsm


def test_keys_are_put_in_only_into_a_file_that_is_ours_alone(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("c4nary-key\n")
    key.chmod(0o600)
    file, output = rich(tmp_path, f"md5_file: {key}"), tmp_path / "frr.conf"
    plain = call("--for", "frr", "--peer", "a-r1", files=[file])
    assert "c4nary-key" not in plain.output
    assert "password MD5-KEY-OF-a-e1" in plain.stdout
    refused = call("--for", "frr", "--peer", "a-r1", "--with-secrets", files=[file])
    assert refused.exit_code == 2
    assert refused.stderr == "fairhop: --with-secrets prints no keys: expected --output FILE as well\n"
    output.write_text("what was there before, and was open to all, and longer than nothing\n" * 1000)
    output.chmod(0o644)
    done = call("--for", "frr", "--peer", "a-r1", "--with-secrets", "--json", "--output", str(output), files=[file])
    assert done.exit_code == 0
    assert "c4nary-key" not in done.output
    assert " neighbor 10.0.5.1 password c4nary-key\n" in output.read_text()
    assert "what was there" not in output.read_text()
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    key.unlink()
    done = call("--for", "frr", "--peer", "a-r1", "--with-secrets", "--output", str(output), files=[file])
    assert done.exit_code == 78
    assert f"node a-e1: peer a-r1: md5_file {key} cannot be read" in done.stderr


def test_options_reach_the_kit() -> None:
    words = [
        "--aggregate",
        "203.0.113.0/24",
        "--any-scope",
        "--accept-blackhole",
        "a-e1",
        "--slack",
        "3",
        "--restart",
        "9",
    ]
    words += ["--max-paths", "4", "--no-roles", "--router-id", "10.255.0.2", "--weight", "a-e1=3", "--weight", "a-e2=1"]
    text = call("--for", "bird", "--peer", "a-r1", *words).stdout
    for line in ("route 203.0.113.0/24 blackhole;", "merge paths on limit 4;", "router id 10.255.0.2;", "weight = 3;"):
        assert line in text
    assert text.count("(65535, 666)") == 2, "both families of one edge"
    assert text.count("receive limit 5 action restart;") == 4
    assert "local role" not in text
    assert "bgp_community.add((65535, 65281));\n  weight" not in text
    assert text.count("error wait time 1, 540;") == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--aggregate", "203.0.113.1/24"], "'203.0.113.1/24' is no prefix: expected one such as 203.0.113.0/24"),
        (["--router-id", "fd00::1"], "'fd00::1' is no IPv4 address: expected one such as 10.255.0.2"),
        (["--weight", "30"], "'30': expected EDGE=VALUE, such as a-e1=30"),
        (["--weight", "a-e1=x"], "--weight a-e1=x: expected a number from 1 to 256"),
        (["--weight", "a-e7=3"], "--weight names edge 'a-e7', which is none of a-r1's; did you mean 'a-e2'?"),
        (["--interface", "b=eth1"], "--interface names edge 'b', which is none of a-r1's; valid: a-e1, a-e2"),
        (["--accept-blackhole", "b"], "edge b may not blackhole: expected one of a-e1, a-e2"),
        (["--slack", "-1"], "slack is -1: expected 0 to 10000"),
    ],
)
def test_a_wrong_option_is_told_with_what_was_expected(words: list[str], told: str) -> None:
    done = call("--for", "bird", "--peer", "a-r1", *words)
    assert done.exit_code in (2, 78)
    assert told in done.stderr


def test_the_packet_filter_comes_alone(tmp_path: Path) -> None:
    file = rich(tmp_path, "ttl_security: true", "  bfd: {}\n")
    done = call("--for", "frr", "--peer", "a-r1", "--nft", files=[file])
    assert done.stdout.startswith("table inet fairhop_gtsm\ndelete table inet fairhop_gtsm\n")
    assert call("--for", "bird", "--peer", "a-r1", "--nft", files=[file]).stdout == ""
    assert "bfd profile FAIRHOP-50-50-3" in call("--for", "frr", "--peer", "a-r1", files=[file]).stdout


def test_the_sysctls_come_alone() -> None:
    done = call("--sysctls", files=[])
    assert done.stdout.splitlines()[0] == "net.ipv4.fib_multipath_hash_policy = 1"
    assert call("--peer", "a-r1").exit_code == 2


def test_no_graceful_restart_is_rendered_without_bfd(tmp_path: Path) -> None:
    """The configuration refuses it too; this is the kit's own lock."""
    loaded = config.load(rich(tmp_path, "asn_unused: 1").read_text().replace(", asn_unused: 1", ""), "x")
    restart = loaded.announcer.model_copy(update={"graceful_restart": object()})
    with pytest.raises(KitError, match="a-e1 has no BFD"):
        kit_for([loaded.model_copy(update={"announcer": restart})], "a-r1", Choices())
