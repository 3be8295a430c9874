"""The rules between the values of a fairhop.yaml: words and places frozen, and nothing that the maps refuse gets by."""

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest
import yaml

from edge.config.file import Config, load
from edge.datapath.checks import check
from edge.datapath.model import (
    UNLIMITED,
    Backend,
    Encap,
    ForwarderState,
    HashMode,
    Protection,
    Protocol,
    QuicLb,
    Rate,
)
from edge.decide.plan import PoolView, Tables, forwarder_state, select
from edge.text.strictyaml import ConfigError
from tests.edge.test_config import errors

FULL = """\
version: 1
node: a-e1
hashing: {seed: 7, table_size: 101}
forwarder:
  interfaces: [eth1]
  outer_source: 10.0.5.0/24
  outer_source6: fd00:5::/64
  infrastructure: [10.0.7.1, fd00:7::1]
  mtu: 1500
  vlans: true
quic: {config_id: 2, server_id_length: 1}
protection:
  drop_private: true
  reflection_ports: [53, 123]
  per_source: {rate: 1000, burst: 200}
  per_vip: {rate: 50000, burst: 1000}
  block_list: {file: /etc/fairhop/blocked, dry_run: true}
announcer:
  asn: 65110
  router_id: 10.255.0.6
  peers: [{name: r1, address: 10.0.4.0, asn: 65101, local_address: 10.0.4.1, local_address6: fd00:4::1}]
pools:
  web:
    encap: gre
    key: 77
    check: {type: http, port: 80}
    backends:
      - {name: b1, address: 10.0.9.1, server_id: 1}
      - {name: b2, address: fd00:9::2, server_id: 2}
  far:
    encap: ipip
    check: {type: tcp, port: 80}
    backends: [{name: b3, address: 10.0.9.3}]
services:
  - {name: web, vips: [203.0.113.10, 2001:db8:1::10], protocol: tcp, port: 80, pool: web, hash: client}
  - {name: h3, vips: [203.0.113.10, 2001:db8:1::10], protocol: udp, port: 443, pool: web, quic: true}
  - {name: all, vips: [203.0.113.128/25, 2001:db8:2::/48], protocol: tcp, port: any, pool: far, hash: client-port}
"""
INTERFACES = {1: b"\x02\0\0\0\0\1"}


def state_of(config: Config) -> ForwarderState:
    tables = Tables(config.hashing.table_size)
    built = {name: tables.table(select(pool, PoolView()).members) for name, pool in config.pools.items()}
    return forwarder_state(config, built, {}, config.vips, 1)


def test_everything_that_can_be_written_reaches_the_data_path() -> None:
    config = load(FULL, "f.yaml")
    state = state_of(config)
    check(state, INTERFACES)
    assert [str(prefix) for prefix in config.prefixes] == [
        "203.0.113.10/32",
        "203.0.113.128/25",
        "2001:db8:1::10/128",
        "2001:db8:2::/48",
    ]
    assert [(str(s.vip), s.protocol, s.port, s.pool, s.hashing, s.quic) for s in state.services] == [
        ("203.0.113.10", Protocol.TCP, 80, 0, HashMode.CLIENT, False),
        ("2001:db8:1::10", Protocol.TCP, 80, 0, HashMode.CLIENT, False),
        ("203.0.113.10", Protocol.UDP, 443, 0, HashMode.FIVE_TUPLE, True),
        ("2001:db8:1::10", Protocol.UDP, 443, 0, HashMode.FIVE_TUPLE, True),
        ("203.0.113.128/25", Protocol.TCP, 0, 1, HashMode.CLIENT_PORT, False),
        ("2001:db8:2::/48", Protocol.TCP, 0, 1, HashMode.CLIENT_PORT, False),
    ]
    addresses = [backend.address for pool in config.pools.values() for backend in pool.backends]
    assert state.backends == (
        Backend(1, "b1", addresses[0], Encap.GRE, key=77, server_id=1),
        Backend(2, "b2", addresses[1], Encap.GRE, key=77, server_id=2),
        Backend(3, "b3", addresses[2], Encap.IPIP),
    )
    assert (str(state.outer_source), str(state.outer_source6), state.mtu, state.vlans) == (
        "10.0.5.0/24",
        "fd00:5::/64",
        1500,
        True,
    )
    assert {str(each) for each in state.infrastructure} == {
        *("10.0.7.1", "fd00:7::1", "10.0.4.1", "fd00:4::1", "10.0.9.1", "fd00:9::2", "10.0.9.3")
    }
    assert state.quic == QuicLb(2, 1)
    assert state.protection == Protection(
        drop_private=True,
        blocking=True,
        reflection_ports=frozenset({53, 123}),
        per_source=Rate(1000, 200),
        per_vip=Rate(50000, 1000),
    )


def test_protection_is_off_unless_it_is_written() -> None:
    before, after = FULL[: FULL.index("protection:")], FULL[FULL.index("announcer:") :]
    state = state_of(load(before + after, "f.yaml"))
    assert state.protection == Protection(per_source=UNLIMITED, per_vip=UNLIMITED)


def test_a_prefix_of_full_length_is_its_address() -> None:
    config = load(FULL.replace("[203.0.113.128/25,", "[203.0.113.128/32,"), "f.yaml")
    assert IPv4Address("203.0.113.128") in config.vips


WRONG = [
    # Shapes.
    ("port: any", "port: all", "37:81: services.2.port is 'all': expected a valid integer"),
    ("port: any", "port: 0", "37:81: services.2.port is 0: expected greater than or equal to 1"),
    (
        "203.0.113.128/25",
        "203.0.113.129/25",
        "37:24: services.2.vips.0 is '203.0.113.129/25': expected no bits behind the prefix, as in 203.0.113.128/25",
    ),
    (
        "203.0.113.128/25",
        "203.0.113.300",
        "37:24: services.2.vips.0 is '203.0.113.300': "
        "expected an address or a prefix, such as 192.0.2.1 or 2001:db8::/64",
    ),
    (
        "10.0.9.3",
        "fe80::1%eth0",
        "33:36: pools.far.backends.0.address is 'fe80::1%eth0': "
        "expected an IPv4 or IPv6 address, such as 192.0.2.1 or 2001:db8::1",
    ),
    (
        "hash: client-port",
        "hash: ip",
        "37:103: services.2.hash is 'ip': expected 'five-tuple', 'client' or 'client-port'",
    ),
    ("vlans: true", "vlans: 1", "10:10: forwarder.vlans is 1: expected a valid boolean"),
    ("mtu: 1500", "mtu: 600", "9:8: forwarder.mtu is 600: expected greater than or equal to 620"),
    ("config_id: 2", "config_id: 7", "11:19: quic.config_id is 7: expected less than or equal to 6"),
    ("length: 1}", "length: 4}", "11:40: quic.server_id_length is 4: expected less than or equal to 3"),
    ("rate: 1000,", "rate: 0,", "15:22: protection.per_source.rate is 0: expected greater than or equal to 1"),
    ("rate: 1000, burst: 200", "rate: 1000", "15:15: protection.per_source lacks the key 'burst'"),
    ("/etc/fairhop/blocked", "''", "17:22: protection.block_list.file is '': string should match pattern"),
    # Whose addresses are whose.
    (
        "10.0.9.3",
        "203.0.113.130",
        "33:36: backend address 203.0.113.130 is inside VIP 203.0.113.128/25: packets would loop",
    ),
    ("fd00:9::2", "2001:db8:1::10", "29:29: backend address 2001:db8:1::10 is also a VIP: packets would loop"),
    ("10.0.9.3", "fd00:4::1", "33:36: backend address fd00:4::1 is this node's own: expected another machine's"),
    ("10.0.9.3", "ff02::1", "33:36: backend address ff02::1 is not a unicast host address"),
    ("10.0.9.3", "'::ffff:10.0.9.3'", "33:36: backend address ::ffff:a00:903 is not a unicast host address"),
    (
        "10.0.9.3",
        "10.0.5.9",
        "33:36: backend address 10.0.5.9 is inside 10.0.5.0/24, the sources of this node's own tunnels",
    ),
    (
        "  outer_source6: fd00:5::/64\n",
        "",
        "28:29: backend address fd00:9::2 is IPv6: expected forwarder.outer_source6 to send from",
    ),
    (
        ", local_address6: fd00:4::1",
        "",
        "21:11: peer 'r1' has no local_address6: expected the next hop of 2001:db8:1::10",
    ),
    (
        "local_address6: fd00:4::1",
        "local_address6: fe80::1",
        "21:94: local_address6 fe80::1 is not a global unicast address: routers could not use it",
    ),
    (
        "local_address6: fd00:4::1",
        "local_address6: 2001:db8:2::1",
        "21:94: local_address6 2001:db8:2::1 is inside VIP 2001:db8:2::/48: expected an address of this node alone",
    ),
    (
        "local_address: 10.0.4.1",
        "local_address: 203.0.113.10",
        "21:68: local_address 203.0.113.10 is also a VIP: expected an address of this node alone",
    ),
    ("address: 10.0.4.0", "address: 203.0.113.200", "21:31: peer address 203.0.113.200 is inside VIP 203.0.113.128/25"),
    (
        "fd00:7::1",
        "2001:db8:2::5",
        "8:30: infrastructure address 2001:db8:2::5 is inside VIP 2001:db8:2::/48: no client could be told from it",
    ),
    (
        "outer_source: 10.0.5.0/24",
        "outer_source: 203.0.113.0/24",
        "6:17: outer_source 203.0.113.0/24 overlaps VIP 203.0.113.10: expected addresses of this node alone",
    ),
    (
        "outer_source6: fd00:5::/64",
        "outer_source6: 2001:db8:2:7::/64",
        "7:18: outer_source6 2001:db8:2:7::/64 overlaps VIP 2001:db8:2::/48: expected addresses of this node alone",
    ),
    (
        "outer_source: 10.0.5.0/24",
        "outer_source: 127.0.0.0/24",
        "6:17: outer_source 127.0.0.0/24 meets 127.0.0.0/8: expected unicast host addresses only",
    ),
    (
        "2001:db8:2::/48",
        "fe00::/7",
        "37:42: VIP fe00::/7 meets fe80::/10: expected unicast host addresses only",
    ),
    (
        "2001:db8:2::/48",
        "2001:DB8:2:0::/48, 2001:db8:2::/48",
        "37:61: duplicate VIP [2001:db8:2::/48]:any/tcp: service 'all' has it already",
    ),
    ("fd00:9::2", "10.0.9.1", "29:29: address '10.0.9.1' is given twice, first on line 28"),
    # What tunnels and ids can say.
    ("encap: ipip", "encap: ipip\n    key: 0", "32:10: key is 0: expected none, because only gre carries one"),
    ("mtu: 1500", "mtu: 1327", "9:8: mtu is 1327: expected at least 1328 for IPv6 through the tunnels of pool 'web'"),
    ("protocol: udp, port: 443", "protocol: tcp, port: 443", "36:97: quic is true: expected false, or protocol udp"),
    (
        "quic: {config_id: 2, server_id_length: 1}\n",
        "",
        "35:97: quic is true: expected a block 'quic' in the file that says how ids name backends",
    ),
    (", server_id: 2", "", "29:9: backend 'b2' has no server_id: service 'h3' routes by it"),
    ("server_id: 2", "server_id: 1", "29:51: server_id '1' is given twice, first on line 28"),
    ("server_id: 2", "server_id: 256", "29:51: server_id is 256: expected at most 255 in 1 octet(s)"),
]


@pytest.mark.parametrize(("old", "new", "expected"), WRONG, ids=lambda value: str(value)[:40])
def test_one_wrong_thing_gives_one_error_at_its_place(old: str, new: str, expected: str) -> None:
    assert FULL.count(old) >= 1
    found = errors(FULL.replace(old, new, 1))
    assert [line[: len("f.yaml:") + len(expected)] for line in found] == [f"f.yaml:{expected}"]


def test_a_vip_prefix_that_holds_everything_is_refused_for_all_that_it_would_take() -> None:
    found = errors(FULL.replace("203.0.113.128/25", "0.0.0.0/0"))
    assert [line.split(": ", 1)[1].split(":")[0] for line in found] == [
        "outer_source 10.0.5.0/24 overlaps VIP 0.0.0.0/0",
        "infrastructure address 10.0.7.1 is inside VIP 0.0.0.0/0",
        "peer address 10.0.4.0 is inside VIP 0.0.0.0/0",
        "local_address 10.0.4.1 is inside VIP 0.0.0.0/0",
        "backend address 10.0.9.1 is inside VIP 0.0.0.0/0",
        "backend address 10.0.9.3 is inside VIP 0.0.0.0/0",
        "VIP 0.0.0.0/0 meets 0.0.0.0/8",
    ]


def many(count: int, text: str) -> str:
    return ", ".join(text.format(number=number, high=number // 250, low=number % 250 + 1) for number in range(count))


LIMITS = [
    ("VIPs", "203.0.113.128/25, 2001:db8:2::/48", "198.{high}.7.{low}", 1021,
     "35:3: 1024 different VIPs: expected at most 1023"),
    ("interfaces", "eth1", "e{number}", 32, "5:15: 33 interfaces: expected at most 32"),
    ("ports", "53, 123", "{low}", 8, "14:21: 9 reflection ports: expected at most 8"),
    (
        "lengths",
        "203.0.113.128/25, 2001:db8:2::/48",
        "2001:db8::/3{number}",
        4,
        "35:3: 5 different lengths of IPv6 VIP prefixes: expected at most 4",
    ),
    ("backends", "{name: b3, address: 10.0.9.3}", "{{name: n{number}, address: 10.9.{high}.{low}}}", 4094,
     "23:3: 4097 backends: expected at most 4096"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "old", "entry", "most", "expected"), LIMITS, ids=[each[0] for each in LIMITS])
def test_what_the_maps_hold_is_the_limit_of_the_file(what: str, old: str, entry: str, most: int, expected: str) -> None:
    assert old in FULL
    state = state_of(load(FULL.replace(old, many(most, entry), 1), "f.yaml"))
    check(state, {number: bytes(6) for number in range(1, 33)})
    assert errors(FULL.replace(old, many(most + 1, entry), 1)) == [f"f.yaml:{expected}"]


def pools(count: int) -> str:
    entry = "  p{n}: {{encap: gre, check: {{type: tcp, port: 1}}, backends: [{{name: x{n}, address: 10.8.{n}.1}}]}}\n"
    return FULL.replace("  far:\n", "".join(entry.format(n=number) for number in range(count)) + "  far:\n")


def services(count: int) -> Iterator[str]:
    yield FULL
    for number in range(count // 10):
        vips = many(10, "198.{high}.7.{low}")
        yield f"  - {{name: s{number}, vips: [{vips}], protocol: tcp, port: {1000 + number}, pool: far}}\n"
    for number in range(count % 10):
        yield f"  - {{name: t{number}, vips: [203.0.113.10], protocol: tcp, port: {1000 + number}, pool: far}}\n"


def test_pools_and_services_have_limits_too() -> None:
    assert len(load(pools(254), "f.yaml").pools) == 256
    assert errors(pools(255)) == ["f.yaml:23:3: 257 pools: expected at most 256"]
    assert state_of(load("".join(services(4090)), "f.yaml")).services[-1].id == 4096
    assert errors("".join(services(4091))) == ["f.yaml:35:3: 4097 services, each VIP counted: expected at most 4096"]


STRANGE: list[object] = [
    [],
    {"a": "203.0.113.9"},
    {},
    None,
    True,
    1.5,
    -1,
    10**12,
    "x",
    "",
    "::",
    "0.0.0.0/0",
    [["x"]],
    [{"vips": 7}],
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a document."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = value.copy()
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


def test_a_strange_value_anywhere_is_taken_or_refused_with_its_place() -> None:
    document = yaml.safe_load(FULL)
    paths = list(places(document))
    assert len(paths) == 96
    for number, path in enumerate(paths):
        for strange in ([1], {"a": 1}, STRANGE[number % len(STRANGE)]):
            try:
                check(state_of(load(yaml.safe_dump(replaced(document, path, strange)), "f.yaml")), INTERFACES)
            except ConfigError as error:
                assert all(problem.line >= 1 and problem.message for problem in error.problems)
