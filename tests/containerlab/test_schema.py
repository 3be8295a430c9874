"""Every topology in the tree against the schema that the pinned containerlab carries."""

import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.containerlab import tier

pytestmark = [pytest.mark.containerlab, pytest.mark.timeout(600)]

TOPOLOGIES = sorted(
    path.relative_to(tier.ROOT)
    for folder in (tier.ROOT / "containerlab", tier.HERE)
    for path in folder.glob("*.clab.yml")
)


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    # Not `check_schema`: the pattern of `ports`, which our files do not use, is written for another regex dialect.
    return Draft7Validator(json.loads((tier.module_directory() / "schemas" / "clab.schema.json").read_text()))


def errors(validator: Draft7Validator, topology: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(topology)]


def test_there_is_a_two_site_topology() -> None:
    assert "two-site.clab.yml" in {path.name for path in TOPOLOGIES}


@pytest.mark.parametrize("file", TOPOLOGIES, ids=str)
def test_a_topology_is_valid(validator: Draft7Validator, file: Any) -> None:
    assert errors(validator, yaml.safe_load((tier.ROOT / file).read_text())) == []


@pytest.mark.parametrize(
    ("key", "value"), [("restart-policy", "sometimes"), ("no-such-key", 1), ("privileged", "maybe"), ("cap-add", "ALL")]
)
def test_the_schema_refuses_a_wrong_node(validator: Draft7Validator, key: str, value: Any) -> None:
    topology = yaml.safe_load((tier.HERE / "pair.clab.yml").read_text())
    topology["topology"]["nodes"]["left"][key] = value
    assert errors(validator, topology)
