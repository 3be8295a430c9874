"""Scenario files: what is read, and the text of every kind of error, all of a file at once."""

from pathlib import Path

import pytest

from lab.scenario.bounds import Limits
from lab.scenario.moves import Drain, Exec, Heal, Inject, Nothing
from tests.lab.scenario.cases import DRAIN, case, problems

FILES = sorted((Path(__file__).parents[3] / "containerlab" / "scenarios").glob("*.yml"))


def test_a_scenario_is_read_as_values() -> None:
    scenario = case().scenario
    assert scenario.traffic["held"].kind == "connections"
    drain, back = scenario.steps
    assert drain.do == (Drain(nodes=("a-e1",)),)
    assert (drain.after, drain.observe, back.after) == (1.0, 2.5, 0.0)
    assert drain.expect.broken == Limits(min=0, max=0)
    assert drain.expect.routes_within == Limits(max=0.2), "no measured time is exactly a number: it is the most"
    assert back.announcing == "all"


def test_actions_stand_alone_or_in_a_list() -> None:
    text = DRAIN.replace(
        "do: {undrain: {nodes: [a-e1]}}",
        """do:
      - {fault: {loss: {on: "a-r1:eth3", percent: 30}, name: lossy, for: 2}}
      - {exec: {node: a-e1, command: "sh -c 'exit 3'", exit: 3}}
      - {heal: lossy}
      - nothing""",
    )
    assert case(text).scenario.steps[1].do == (
        Inject.model_validate(
            {"fault": "loss", "settings": {"on": "a-r1:eth3", "percent": 30}, "name": "lossy", "for": 2}
        ),
        Exec(node="a-e1", command=("sh", "-c", "exit 3"), exit=3),
        Heal(name="lossy"),
        Nothing(),
    )


def test_all_errors_of_a_file_come_at_once_each_at_its_place() -> None:
    text = (
        DRAIN.replace("version: 1", "version: 2")
        .replace("rate: 100", "rat: 100")
        .replace("kind: connections", "kind: conections")
        .replace("after: 1", "after: -1")
        .replace("{drain:", "{drian:")
        .replace("broken: 0, failed", 'broken: "0", faild')
    )
    assert problems(text) == [
        "1:10: version is 2: expected 1",
        "6:8: traffic.web lacks the key 'rate'",
        "6:34: unknown key 'rat'; did you mean 'rate'?",
        "7:16: traffic.held.kind is 'conections': expected a kind of traffic; did you mean 'connections'?",
        "10:12: steps.0.after is -1: expected greater than or equal to 0",
        "11:10: unknown action 'drian'; did you mean 'drain'?",
        "13:22: steps.0.expect.broken is '0': expected a number, or {min: N}, {max: N} or both",
        "13:27: unknown key 'faild'; did you mean 'failed'?",
    ]


def test_all_names_that_do_not_exist_come_at_once() -> None:
    text = (
        DRAIN.replace("name: drain", "name: drian")
        .replace("to: web", "to: wbe")
        .replace("ipv6: 0.2", "from: [client-x]")
        .replace("a-e1", "a-e9")
        .replace(
            "expect: {broken: 0, always_routed: true}",
            """expect:
  share: {a-e8: 1}
  reasons: {all: {nobackend: 0}}
  routes: {a-r1: {203.0.113.10/32: [b-e1], 203.0.113.99/32: []}}
  streams: {hold: {broken: 0}}
  digests: {c: equal}
over_repetitions: {steps: {edge dran: {p99: 0.3}}}""",
        )
    )
    assert problems(text) == [
        "2:7: name is 'drian': expected the file's, 'drain'",
        "6:29: there is no service 'wbe'; did you mean 'web'?",
        "7:58: there is no client 'client-x'; did you mean 'client-b'?",
        "11:26: there is no edge 'a-e9'; did you mean 'a-e2'?",
        "12:28: there is no edge 'a-e9'; did you mean 'a-e2'?",
        "15:28: there is no edge 'a-e9'; did you mean 'a-e2'?",
        "18:17: there is no edge 'a-e8'; did you mean 'a-e2'?",
        "19:30: there is no drop reason 'nobackend'; did you mean 'no_backend'?",
        "20:37: there is no neighbour of a-r1 'b-e1'; did you mean 'a-e1'?",
        "20:61: there is no VIP prefix '203.0.113.99/32'; did you mean '203.0.113.11/32'?",
        "21:19: there is no stream 'hold'; did you mean 'held'?",
        "22:16: there is no site with edges 'c'; valid: a, b",
        "23:39: there is no step 'edge dran'; did you mean 'edge drain'?",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("topology: two-site", "topology: two", "4:11: there is no topology 'two'"),
        ("rate: 100", "rate: 0", "6:40: traffic.web.rate is 0: expected greater than 0"),
        (
            "to: echo",
            "to: web",
            "",
        ),
        (
            "kind: connections, to: echo",
            "kind: datagrams, to: web",
            "7:31: service 'web' has no UDP port, which datagrams need",
        ),
        (
            "name: edge return",
            "name: edge drain",
            "14:11: two steps are called 'edge drain': each needs a name of its own",
        ),
        (
            "do: {undrain: {nodes: [a-e1]}}",
            "do: {undrain: {nodes: [a-e1], vip: web}}",
            "15:19: steps.1.do.undrain is {'nodes': ['a-e1'], 'vip': 'web'}: expected one of nodes, vip and backend, "
            "not 2 of them",
        ),
        (
            "do: {undrain: {nodes: [a-e1]}}",
            "do: undrain",
            "15:9: steps.1.do is 'undrain': expected one action; did you mean 'undrain'?",
        ),
        (
            "do: {undrain: {nodes: [a-e1]}}",
            "do: {heal: lossy}",
            "15:16: there is no fault of an earlier step 'lossy'",
        ),
        (
            "do: {undrain: {nodes: [a-e1]}}",
            "do: {fault: {los: {}}}",
            "15:18: unknown fault 'los'; did you mean 'loss'?",
        ),
        (
            "do: {undrain: {nodes: [a-e1]}}",
            'do: {fault: {loss: {on: "a-r1:eth99", percent: 1}}}',
            "15:24: no link has the end 'a-r1:eth99'; did you mean 'a-r1:eth7'?",
        ),
        (
            "do: {undrain: {nodes: [a-e1]}}",
            'do: {exec: {node: a-e1, command: "sh -c \'x"}}',
            '15:38: steps.1.do.exec.command is "sh -c \'x": not words as a shell reads them: no closing quotation',
        ),
        (
            "announcing: {without: [a-e1]}",
            "announcing: {vip: web}",
            "12:17: announcing needs one of 'without' and 'only'",
        ),
        (
            "expect: {broken: 0, always_routed: true}",
            "expect: {lost: 0}",
            "17:16: lost cannot be judged of this traffic: expected datagrams or quic",
        ),
        (
            "expect: {broken: 0, always_routed: true}",
            "expect: {streams: {web: {broken: 0}}}",
            "17:34: broken cannot be judged of 'web', which is requests: expected connections or datagrams or quic",
        ),
        (
            "expect: {broken: 0, always_routed: true}",
            "expect: {gap: {min: 2, max: 1}}",
            "17:15: expect.gap is {'min': 2, 'max': 1}: min is above max, so nothing could pass",
        ),
        ("steps:", "stps:", None),
    ],
)
def test_one_wrong_thing_gives_one_error(old: str, new: str, message: str | None) -> None:
    assert old in DRAIN
    found = problems(DRAIN.replace(old, new))
    if message is None:
        assert found == ["1:1: the file lacks the key 'steps'", "8:1: unknown key 'stps'; did you mean 'steps'?"]
    else:
        assert found == ([message] if message else [])


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_shipped_scenario_is_read(file: Path) -> None:
    from lab.scenario import files  # noqa: PLC0415 - reads topologies too

    found, *others = files.read([file])
    assert found.scenario.name == file.stem
    assert [each.topology.name for each in others] == [*found.scenario.against]
    assert {*found.scenario.covers} <= {f"F{number}" for number in range(1, 19)}
