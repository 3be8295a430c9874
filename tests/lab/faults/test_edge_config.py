"""A node's file with other values, and what its checks want to hear."""

import pytest

from edge.text import strictyaml
from lab.faults.edge_config import Check, backends, checks, edited

FILE = """
version: 1
pools:
  web:
    check: {type: http, port: 80, status: [204, 200-299], body: fine}
    backends:
    - {name: b1, address: 10.0.7.1, weight: 1}
    - {name: b2, address: '2001:db8::2', weight: 1}
  echo:
    check: [{type: tcp, port: 7000}, {type: udp, port: 53, expect_hex: '00 ff'}]
    backends: [{name: b1, address: 10.0.7.1}]
"""


def test_values_are_set_by_their_places_and_the_rest_stays() -> None:
    text = edited(FILE, {"pools.web.check.port": 81, "pools.web.backends.b2.weight": 0, "pools.echo.check.0": None})
    before, after = strictyaml.load(FILE, "a").value, strictyaml.load(text, "b").value
    before["pools"]["web"]["check"]["port"] = 81
    before["pools"]["web"]["backends"][1]["weight"] = 0
    del before["pools"]["echo"]["check"][0]
    assert after == before


def test_a_key_that_is_not_there_is_added_to_its_mapping() -> None:
    text = edited(FILE, {"drain": {"settle": 1.5}, "pools.web.backends.0.weight": 7})
    after = strictyaml.load(text, "b").value
    assert after["drain"] == {"settle": 1.5}
    assert after["pools"]["web"]["backends"][0]["weight"] == 7


def test_every_place_that_does_not_exist_is_named() -> None:
    values = {"pools.wob.check.port": 1, "pools.web.backends.b3.weight": 1, "version.x": 1, "pools.web.chek": None}
    with pytest.raises(ValueError, match=r"no 'wob'; did you mean 'web'\?.*no 'b3'.*version.x: .*no 'x'.*no 'chek'"):
        edited(FILE, values)


def test_checks_and_what_satisfies_them() -> None:
    assert checks(FILE) == [
        Check("web", "http", 80, 204, b"fine"),
        Check("echo", "tcp", 7000),
        Check("echo", "udp", 53, answer=b"\x00\xff"),
    ]
    assert backends(FILE) == ["10.0.7.1", "2001:db8::2"]


def test_a_check_that_nobody_can_answer_for_is_named() -> None:
    with pytest.raises(ValueError, match="pool web has a check of type https"):
        checks(FILE.replace("type: http,", "type: https,"))
