"""backend.yaml: what is accepted, and every error with its place."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
import yaml

from edge.backend.config import load
from edge.datapath.checks import check_decap
from edge.datapath.model import DecapState, Encap
from edge.text.strictyaml import ConfigError
from tests.edge.test_config_rules import STRANGE, places, replaced

GOOD = """\
version: 1
name: a-b1
interface: eth1
address: 10.0.9.1
vips: [203.0.113.10, 203.0.113.11]
edges: [10.0.5.1/32, 10.1.0.0/24]
encaps: [gre]
pin: /run/bpf/fairhop-backend
mode: native
advmss: 1420
infrastructure: [10.0.5.1, 10.0.9.1]
echo: {port: 7000}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, "backend.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_a_whole_file_becomes_frozen_values_and_a_decap_state() -> None:
    config = load(GOOD, "backend.yaml")
    assert (config.name, config.interface, config.mode, config.advmss) == ("a-b1", "eth1", "native", 1420)
    assert config.echo is not None
    assert config.echo.port == 7000
    assert config.decap_state == DecapState(
        addresses=frozenset({IPv4Address("10.0.9.1")}),
        vips=frozenset({IPv4Address("203.0.113.10"), IPv4Address("203.0.113.11")}),
        edges=(IPv4Network("10.0.5.1/32"), IPv4Network("10.1.0.0/24")),
        encaps=frozenset({Encap.GRE}),
        infrastructure=frozenset({IPv4Address("10.0.5.1"), IPv4Address("10.0.9.1")}),
    )


def test_what_may_be_left_out() -> None:
    config = load("\n".join(GOOD.splitlines()[:6]), "backend.yaml")
    assert config.encaps == ("gre", "ipip")
    assert config.decap_state.encaps == frozenset(Encap)
    assert (config.mode, config.advmss, config.infrastructure, config.echo) == ("auto", 1420, (), None)


def test_all_errors_come_at_once_each_with_its_place() -> None:
    text = GOOD.replace("10.0.5.1/32", "10.0.5.1/33").replace("[gre]", "[vxlan]").replace("advmss", "advms")
    found = problems(text + "infra: 1\n")
    assert [line.split(": ")[0] for line in found] == [
        "backend.yaml:6:9",
        "backend.yaml:7:10",
        "backend.yaml:10:1",
        "backend.yaml:13:1",
    ]


def test_a_vip_that_is_the_backend_itself_or_infrastructure_or_given_twice_is_refused() -> None:
    text = GOOD.replace("[203.0.113.10, 203.0.113.11]", "[10.0.9.1, 10.0.5.1, 203.0.113.10, 203.0.113.10]")
    assert problems(text) == [
        "backend.yaml:5:8: vip 10.0.9.1 is the backend's own address: expected an address of the service",
        "backend.yaml:5:18: vip 10.0.5.1 is in infrastructure too: no client could be told from it",
        "backend.yaml:5:42: vip 203.0.113.10 is given twice, first at entry 2",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("port: 7000", "port: 0"),
        ("edges: [10.0.5.1/32, 10.1.0.0/24]", "edges: []"),
        ("interface: eth1", "interface: a/b"),
        ("mode: native", "mode: fast"),
        ("version: 1", "version: 2"),
        ("advmss: 1420", "advmss: 100"),
    ],
)
def test_values_out_of_bounds_are_refused_where_they_stand(old: str, new: str) -> None:
    line = 1 + GOOD[: GOOD.index(old)].count("\n")
    (found,) = problems(GOOD.replace(old, new))
    assert found.startswith(f"backend.yaml:{line}:")


BOTH = GOOD.replace("address: 10.0.9.1", "address: [10.0.9.1, fd00:9::1]").replace(
    "203.0.113.11]", "203.0.113.128/25, 2001:db8:1::10, 2001:db8:2::/48]"
).replace("10.1.0.0/24]", "10.1.0.0/24, fd00:5::/64]").replace("pin:", "key: 77\nadvmss6: 1360\npin:")  # fmt: skip


def test_both_families_prefixes_and_a_key_become_a_decap_state() -> None:
    config = load(BOTH, "backend.yaml")
    assert config.advmss6 == 1360
    state = config.decap_state
    assert state == DecapState(
        addresses=frozenset({IPv4Address("10.0.9.1"), IPv6Address("fd00:9::1")}),
        vips=frozenset(
            {
                IPv4Address("203.0.113.10"),
                IPv4Network("203.0.113.128/25"),
                IPv6Address("2001:db8:1::10"),
                IPv6Network("2001:db8:2::/48"),
            }
        ),
        edges=(IPv4Network("10.0.5.1/32"), IPv4Network("10.1.0.0/24"), IPv6Network("fd00:5::/64")),
        encaps=frozenset({Encap.GRE}),
        infrastructure=frozenset({IPv4Address("10.0.5.1"), IPv4Address("10.0.9.1")}),
        key=77,
    )
    check_decap(state)


WRONG = [
    ("fd00:9::1]", "10.0.9.1]", "4:21: address '10.0.9.1' is given twice, first on line 4"),
    ("fd00:9::1]", "ff02::1]", "4:21: address ff02::1 is not a unicast host address"),
    (
        "2001:db8:2::/48",
        "fd00:9::/48",
        "5:56: vip fd00:9::/48 contains fd00:9::1, the backend's own address: expected an address of the service",
    ),
    (
        "infrastructure: [10.0.5.1",
        "infrastructure: [2001:db8:2::1",
        "5:56: vip 2001:db8:2::/48 contains 2001:db8:2::1, which is in infrastructure too: "
        "no client could be told from it",
    ),
    ("2001:db8:2::/48", "ff00::/8", "5:56: vip ff00::/8 meets ff00::/8: expected unicast host addresses only"),
    ("2001:db8:2::/48", "2001:DB8:1:0::10", "5:56: vip 2001:db8:1::10 is given twice, first at entry 2"),
    (
        "encaps: [gre]",
        "encaps: [ipip]",
        "8:6: key is 77: expected none, because only gre carries one, and encaps has no gre",
    ),
    ("key: 77", "key: 4294967296", "8:6: key is 4294967296: expected less than or equal to 4294967295"),
    (
        "fd00:5::/64",
        ", ".join(f"10.2.{number}.0/24" for number in range(32)),
        "6:8: 33 edge prefixes: expected at most 32",
    ),
    (
        "203.0.113.128/25",
        ", ".join(f"198.18.0.0/{length}" for length in range(20, 25)),
        "5:7: 5 different lengths of IPv4 VIP prefixes: expected at most 4",
    ),
    (
        "203.0.113.10,",
        ", ".join(f"198.18.{number >> 8}.{number & 255}" for number in range(1, 1022)) + ",",
        "5:7: 1024 different VIPs: expected at most 1023",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), WRONG, ids=lambda value: str(value)[:40])
def test_one_wrong_thing_gives_one_error_at_its_place(old: str, new: str, expected: str) -> None:
    assert old in BOTH
    assert problems(BOTH.replace(old, new, 1)) == [f"backend.yaml:{expected}"]


def test_a_strange_value_anywhere_is_taken_or_refused_with_its_place() -> None:
    document = yaml.safe_load(BOTH)
    for path in places(document):
        for strange in STRANGE:
            try:
                check_decap(load(yaml.safe_dump(replaced(document, path, strange)), "backend.yaml").decap_state)
            except ConfigError as error:
                assert all(problem.line >= 1 and problem.message for problem in error.problems)
