"""docs/scenarios.md: every example is read, and every word of the language has one."""

import re
from pathlib import Path
from typing import Any

import pytest

from edge.text import strictyaml
from edge.text.decode import Model
from lab.scenario.model import STREAMS, Expect, OverRepetitions, Percentiles, Scenario, Step
from lab.scenario.moves import MOVES
from tests.lab.scenario.cases import case

DOCUMENT = Path(__file__).parents[3] / "docs" / "scenarios.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT.read_text(), flags=re.M | re.S)
BASE = {
    "version": "1", "name": "example", "title": "t", "topology": "two-site",
    "traffic": "{web: {kind: requests, to: web, rate: 9}, held: {kind: connections, to: echo, count: 9}, "
    "bulk: {kind: bulk, to: web}, ping: {kind: datagrams, to: echo, count: 9}}",
    "steps": "[{name: nothing, do: nothing}]",
}  # fmt: skip


def whole(block: str) -> str:
    """The block with what it lacks to be a file."""
    given = set(re.findall(r"^(\w+):", block, flags=re.M))
    return block + "".join(f"{key}: {value}\n" for key, value in BASE.items() if key not in given)


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_is_read(block: str) -> None:
    assert case(whole(block), "example").scenario.steps


def test_every_word_of_the_language_has_an_example() -> None:
    words: set[str] = set()
    for block in BLOCKS:
        collect(strictyaml.load(block, "block").value, words)
    models: list[type[Model]] = [
        Scenario,
        Step,
        Expect,
        OverRepetitions,
        Percentiles,
        *STREAMS.values(),
        *MOVES.values(),
    ]
    keys = {field.alias or key for model in models for key, field in model.model_fields.items()}
    lacking = (keys | {*MOVES} | {*STREAMS}) - words - {"needs", "fault", "settings", "only"}
    assert lacking <= {"timeout"}
    text = DOCUMENT.read_text()
    assert all(word in text for word in ("needs:", "{fault:", "`{only:", "`any`", "heal: all"))


def collect(value: Any, words: set[str]) -> None:
    """Every key and every plain text."""
    if isinstance(value, dict):
        words |= {str(key) for key in value}
        for each in value.values():
            collect(each, words)
    elif isinstance(value, list):
        for each in value:
            collect(each, words)
    else:
        words.add(str(value))
