"""The text of the kits: golden files, the real parsers, and what must not be rendered."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import pytest

from bgp.kits import bird, frr, gobgp
from bgp.kits.model import KitError, KitInput, Options
from bgp.kits.notes import SYSCTLS, notes, sysctl_conf
from tests.bgp.kits.examples import FIRST, KITS, LINK, RICH, SECOND, SIMPLE, SIX, SPARE, TRUSTING, WEIGHTED
from tests.bgp.kits.test_attacks import CASES, DEVIATIONS, HOPELESS
from tests.bgp.routers.net import TOOLS

RENDER: dict[str, Callable[[KitInput], str]] = {"frr": frr.render, "bird": bird.render, "gobgp": gobgp.render}
PARSERS = {
    "frr": ("vtysh", "-C", "-f"),
    "bird": ("/usr/sbin/bird", "-p", "-c"),
    "gobgp": ("gobgpd", "-t", "toml", "-d", "-f"),
}
GOLDEN = Path(__file__).parent / "golden"
PAIRS = [(name, kind) for name, (_, kinds) in KITS.items() for kind in kinds]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_the_text_is_that_of_the_golden_file(name: str, kind: str) -> None:
    """`FAIRHOP_GOLDEN=write` writes them, for a person to read the difference."""
    text, file = RENDER[kind](KITS[name][0]), GOLDEN / f"{name}.{kind}"
    if os.environ.get("FAIRHOP_GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text()


def test_there_is_no_golden_file_too_many() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.{kind}" for name, kind in PAIRS}


@pytest.mark.process
@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_the_real_parser_takes_every_line(name: str, kind: str, tmp_path: Path) -> None:
    if not Path(TOOLS[kind][0]).exists():
        pytest.skip(f"needs {TOOLS[kind][0]} (apt install {TOOLS[kind][1]})")
    text, file = RENDER[kind](KITS[name][0]), tmp_path / "kit"
    broken = {"frr": ("router bgp", "router gbp"), "bird": ("reject;", "rejekt;"), "gobgp": ("peer-as", "pear-as")}
    for content, works in ((text, True), (text.replace(*broken[kind]), False)):
        file.write_text(content)
        done = subprocess.run([*PARSERS[kind], str(file)], capture_output=True, text=True, check=False, timeout=20)
        assert (done.returncode == 0) == works, done.stdout + done.stderr
        assert not works or kind == "gobgp" or (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("kind", RENDER)
def test_a_key_is_in_the_file_only_if_it_was_given(kind: str) -> None:
    given = replace(SIMPLE, sessions=(replace(FIRST, md5="s3cret"), SECOND))
    assert "s3cret" in RENDER[kind](given)
    assert "s3cret" not in repr(given)
    hidden = RENDER[kind](SIMPLE)
    assert "MD5-KEY-OF-a-e1" in hidden
    assert "put its MD5 key in place of MD5-KEY-OF-a-e1" in hidden
    assert "MD5-KEY-OF-a-e2" not in hidden


def problems(make: Callable[[], object]) -> list[str]:
    with pytest.raises(KitError) as found:
        make()
    return list(found.value.problems)


def test_graceful_restart_without_bfd_is_refused() -> None:
    """R12: each edge that lacks it is named."""
    restart = Options(graceful_restart=True)
    assert problems(lambda: replace(SIMPLE, options=restart)) == [
        "edge a-e2 has no BFD: graceful restart without it would keep a dead edge's routes for the whole restart time; "
        "expected bfd for this router, or no graceful restart"
    ]
    both = replace(SIMPLE, sessions=(FIRST, replace(SECOND, bfd=FIRST.bfd)), options=restart)
    assert "graceful-restart" not in gobgp.render(both), "it has no BFD"
    assert "without BFD graceful restart stays off" in gobgp.render(both)
    assert frr.render(both).count("graceful-restart-helper") == 2
    assert bird.render(both).count("graceful restart aware") == 2
    assert frr.render(SIMPLE).count("graceful-restart-disable") == 2
    assert bird.render(SIMPLE).count(" graceful restart off") == 4


def test_every_problem_is_told_at_once() -> None:
    twin = replace(SECOND, edge="a-e1", address=FIRST.address, asn=65101, vips=(), weight=300)
    options = Options(
        aggregates=(ip_network("0.0.0.0/0"), ip_network("192.0.2.0/24"), ip_network("203.0.113.10/32")),
        blackhole_edges=frozenset({"a-e9"}),
        slack=-1,
        warning_percent=101,
        restart_minutes=0,
        max_paths=65,
    )
    found = problems(lambda: KitInput("a-r1", 65101, (FIRST, twin), options=options))
    vips = "2001:db8:1::10/128, 203.0.113.10/32, 203.0.113.11/32, 203.0.113.128/25"
    assert found == [
        "edge a-e1: 2 sessions have this name: expected one session for each edge",
        "edge a-e1: address 10.0.5.1 is also that of edge a-e1: expected one session for each edge",
        "edge a-e1: asn 65101 is the router's own: expected another, edges speak eBGP",
        "edge a-e1 has no VIP: expected at least one",
        "aggregate 0.0.0.0/0 is the default route: expected a prefix that covers VIPs",
        f"aggregate 192.0.2.0/24 covers no VIP: expected one that covers any of {vips}",
        f"aggregate 203.0.113.10/32 covers no VIP: expected one that covers any of {vips}",
        "edge a-e9 may not blackhole: expected one of a-e1, a-e1",
        "slack is -1: expected 0 to 10000",
        "warning_percent is 101: expected 1 to 100",
        "restart_minutes is 0: expected 1 to 65535",
        "max_paths is 65: expected 1 to 64",
        "edge a-e1: weight is 300: expected 1 to 256",
        "edges a-e1 have no weight: expected one for every edge, or for none",
    ]


def test_addresses_that_cannot_work_are_refused() -> None:
    assert problems(lambda: KitInput("r", 1, ())) == ["router r has no edges: expected at least one"]
    assert problems(lambda: replace(SIMPLE, sessions=(replace(FIRST, next_hop6=None),))) == [
        "edge a-e1: 2001:db8:1::10/128 needs a next hop: expected local_address6 for this router"
    ]
    assert problems(lambda: replace(SPARE, sessions=(replace(LINK, interface=None),))) == [
        "edge c-e1: fe80::1 is link-local: expected the router's interface as well"
    ]
    nameless = replace(SPARE, router_id=None)
    assert problems(lambda: bird.render(nameless)) == [
        "router c-r1 has no IPv4 address here: expected its router id to be told"
    ]


def test_what_a_make_does_not_have_is_refused_and_not_left_out() -> None:
    assert problems(lambda: gobgp.render(RICH)) == [
        "GoBGP discards no packets: expected no edges that may blackhole, not b-e2"
    ]
    none = "GoBGP gives its paths no weights: expected none, and no trust in bandwidths"
    assert problems(lambda: gobgp.render(WEIGHTED)) == problems(lambda: gobgp.render(TRUSTING)) == [none]
    assert problems(lambda: gobgp.render(replace(SPARE, sessions=(LINK,)))) == [
        "edge c-e1: a session by interface eth1 is not rendered for GoBGP"
    ]
    assert problems(lambda: bird.render(TRUSTING)) == [
        "BIRD does not read link bandwidths: expected a weight for each edge instead"
    ]
    [told] = problems(lambda: frr.render(WEIGHTED))
    assert told.startswith("edges a-e1, a-e2 have weights: FRR 8.4 takes weights from the edges alone; expected")


def test_the_head_says_what_is_left_to_do() -> None:
    told = [*notes(SIMPLE)]
    assert told[:4] == [
        "edge a-e1: put its MD5 key in place of MD5-KEY-OF-a-e1; until then its session stays down.",
        "edge a-e2: no MD5 key: whoever sees the link can forge segments.",
        "edge a-e2: no GTSM (ttl_security): others may reach the session.",
        "edge a-e2: no BFD: a silent death is noticed after 3 s.",
    ]
    public = replace(SIX, asn=64500, edge="x")
    assert any(
        "edge x: its AS is not private" in note for note in notes(replace(RICH, sessions=(public,), options=Options()))
    )
    for kind in ("frr", "bird"):
        assert all(note in RENDER[kind](RICH) for note in notes(RICH))
    assert [line.split(" = ") for line in sysctl_conf().splitlines()] == [[k, str(v)] for k, v in SYSCTLS.items()]


def test_bfd_with_a_key_is_refused_where_there_is_none_and_else_told() -> None:
    keyed = replace(SIMPLE, sessions=(replace(FIRST, bfd_auth=True),))
    assert problems(lambda: frr.render(keyed)) == [
        "edges a-e1 authenticate BFD, which FRR 8.4 cannot: expected no bfd.auth for this router"
    ]
    assert "# - edge a-e1: its BFD asks for a key" in bird.render(keyed)


def test_frr_has_gtsm_in_nftables_where_there_is_bfd() -> None:
    """SIMPLE: the first edge has both on one hop, the second has no GTSM. RICH: one over two hops, one over IPv6."""
    text = frr.nft(SIMPLE)
    assert "ip saddr 10.0.5.1 tcp dport 179 ip ttl != 255 drop" in text
    assert "ip daddr 10.0.5.1 tcp sport 179 ip ttl set 255" in text
    assert "10.0.7.1" not in text
    assert "ip6 saddr fd00:0:0:8::1 tcp dport 179 ip6 hoplimit != 255 drop" in frr.nft(RICH)
    assert "10.0.9.1" not in frr.nft(RICH)
    assert " ttl-security hops" not in frr.render(SIMPLE)
    assert "ttl-security hops 2" in frr.render(RICH)
    assert "edges a-e1: their GTSM is in nftables" in frr.render(SIMPLE)
    assert frr.nft(replace(SIMPLE, sessions=(replace(FIRST, bfd=None),))) == ""


def test_the_document_has_every_row_and_every_deviation() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "routers.md").read_text()
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| R")]
    assert {row[0].strip() for row in rows} == {f"R{number}" for number in range(1, 18)}
    assert {len(row) for row in rows} == {5}
    flat = " ".join(text.split())
    for kind, case in DEVIATIONS:
        words = case.removeprefix("origin ").removeprefix("as_path ").removeprefix("next_hop ")
        assert words in flat, f"{kind}: {case}"
    resets = sum(kind == "frr" for kind, _ in DEVIATIONS)
    assert f"malformed UPDATEs (7606), {len(CASES)} kinds" in text
    assert f"| {resets} kinds close the liar's session |" in text
    assert f"cannot be read at all, {len(HOPELESS)} kinds" in text


def test_sessions_know_their_next_hops() -> None:
    assert FIRST.next_hop(4) == IPv4Address("10.0.5.1")
    assert FIRST.next_hop(6) == IPv6Address("fd00:0:0:5::1")
    assert SIX.next_hop(4) == SIX.next_hop(6) == SIX.address
    assert SIX.extended_next_hop
    assert not replace(SIX, next_hop4=IPv4Address("10.0.8.1")).extended_next_hop
    assert not FIRST.extended_next_hop
