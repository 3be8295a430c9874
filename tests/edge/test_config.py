"""fairhop.yaml: every error at its place, all at once, in words frozen here."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config.file import HttpCheck, load
from edge.text.strictyaml import ConfigError

GOOD = """\
version: 1
node: a-e1
hashing: {seed: 7, table_size: 101}
forwarder: {interfaces: [eth1], outer_source: 10.0.5.1/32}
announcer:
  asn: 65110
  router_id: 10.255.0.6
  peers: [{name: a-r1, address: 10.0.5.0, asn: 65101, local_address: 10.0.5.1}]
pools:
  web:
    encap: gre
    check: {type: http, port: 80}
    backends: [{name: a-b1, address: 10.0.9.1}]
services:
  - {name: web, vips: [203.0.113.10], protocol: tcp, port: 80, pool: web}
safety: {settle: 0, hold_down: 0, half_life: 0}
"""


def errors(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, "f.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_a_good_file_is_read_with_its_defaults() -> None:
    config = load(GOOD, "f.yaml")
    (check,) = config.pools["web"].check
    assert isinstance(check, HttpCheck)
    assert (check.path, check.status, config.announcer.hold_time, config.pools["web"].backends[0].weight) == (
        "/",
        ((200, 200),),
        9,
        1,
    )


ONE_WRONG_THING = [
    ("encap: gre", "encap: gre\n    chek: 1", "12:5: unknown key 'chek'; did you mean 'check'?"),
    ("seed: 7,", "", "3:10: hashing lacks the key 'seed'"),
    ("port: 80, pool", "port: 0, pool", "15:60: services.0.port is 0: expected greater than or equal to 1"),
    ("port: 80, pool", "port: 65536, pool", "15:60: services.0.port is 65536: expected less than or equal to 65535"),
    ("port: 80, pool", "port: yes, pool", "15:60: services.0.port is 'yes': expected a valid integer"),
    ("[{name: a-b1, address: 10.0.9.1}]", "[]", "13:5: pools.web.backends is empty: expected at least one entry"),
    ("10.0.9.1", "203.0.113.10", "13:38: backend address 203.0.113.10 is also a VIP: packets would loop"),
    ("10.0.9.1", "10.0.5.1", "13:38: backend address 10.0.5.1 is this node's own: expected another machine's"),
    ("10.0.9.1", "224.0.0.9", "13:38: backend address 224.0.0.9 is not a unicast host address"),
    ("table_size: 101", "table_size: 100", "3:32: table_size is 100: expected a prime, such as 101"),
    ("pool: web}", "pool: wbe}", "15:70: pool 'wbe' is not defined; did you mean 'web'?"),
    (
        "[203.0.113.10]",
        "[203.0.113.10, 203.0.113.10]",
        "15:38: duplicate VIP 203.0.113.10:80/tcp: service 'web' has it already",
    ),
    ("10.0.9.1", "10.0.9.1, weight: 0", "13:15: every backend of pool 'web' has weight 0: expected one above 0"),
    (
        "type: http",
        "type: htp",
        "12:19: pools.web.check.type is 'htp': expected one of 'tcp', 'http', 'https', 'udp', 'dns', 'exec', 'tunnel'",
    ),
    ("port: 80}", "port: 80, timeout: 2.0}", "12:44: timeout is 2.0: expected at most the interval, 0.5"),
    (
        "half_life: 0}",
        "half_life: 0, leave_panic: {settle: 60}}",
        "16:62: leave_panic.longest is 30.0: expected at least leave_panic.settle, 60",
    ),
    (
        "half_life: 0}",
        "half_life: 0, leave_panic: {setle: 60}}",
        "16:63: unknown key 'setle'; did you mean 'settle'?",
    ),
    ("pools:", "pools: [", "11:10: not valid YAML: while parsing a flow sequence expected ',' or ']', but got ':'"),
    ("node: a-e1", "node: a-e1\nnode: b", "3:1: key 'node' is given twice, first on line 2"),
]


@pytest.mark.parametrize(("old", "new", "expected"), ONE_WRONG_THING)
def test_one_wrong_thing_gives_one_error_at_its_place(old: str, new: str, expected: str) -> None:
    assert old in GOOD
    assert errors(GOOD.replace(old, new, 1)) == [f"f.yaml:{expected}"]


def test_a_file_nested_without_end_is_refused() -> None:
    assert errors("a: " + "[" * 5000) == ["f.yaml:1:1: nested too deeply: nothing here needs more than ten levels"]


def test_all_errors_of_a_file_come_at_once() -> None:
    text = (
        GOOD.replace("seed: 7", "seed: -1")
        .replace("port: 80, pool", "port: 0, pool")
        .replace("10.0.9.1", "203.0.113.10")
    )
    assert [line.split(":")[1] for line in errors(text)] == ["3", "13", "15"]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_mutated_file_is_read_or_refused_with_places(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(GOOD) - 1))
    cut = data.draw(st.integers(0, 12))
    insert = data.draw(st.text(alphabet=" \n:-{}[]*&!|>'\"%@`#,?0123abcé\x07\t", max_size=4))
    text = GOOD[:position] + insert + GOOD[position + cut :]
    try:
        load(text, "f.yaml")
    except ConfigError as error:
        assert error.problems
        assert all(problem.line >= 1 and problem.column >= 1 and problem.message for problem in error.problems)


def test_the_file_in_the_documentation_is_valid() -> None:
    text = (Path(__file__).parents[2] / "docs" / "fairhop.yaml").read_text()
    assert load(text, "docs/fairhop.yaml").services
