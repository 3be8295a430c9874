"""The annotated examples in docs/: valid, whole, and something that the data path can hold."""

import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from edge.backend import config as backend
from edge.config import file as config
from edge.datapath.encode import encode, encode_decap
from edge.text.decode import Model
from tests.edge.test_config_rules import INTERFACES, state_of

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES: dict[str, type[Model]] = {"fairhop.yaml": config.Config, "backend.yaml": backend.BackendConfig}


def keys_of(model: type[Model]) -> Iterator[str]:
    """Every key that a file of this model may have, at any depth."""
    for name, field in model.model_fields.items():
        yield name
        yield from (key for inner in models_in(field.annotation) for key in keys_of(inner))


def models_in(annotation: object) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models_in(argument)


def keys_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys_in(inner)


@pytest.mark.parametrize(("name", "model"), EXAMPLES.items())
def test_the_example_has_every_key_there_is(name: str, model: type[Model]) -> None:
    unexplained = {"host"}  # of an HTTP check: the default is what nearly everybody wants
    assert set(keys_of(model)) - unexplained <= set(keys_in(yaml.safe_load((DOCS / name).read_text())))


def test_the_examples_can_be_laid_out_for_the_data_path() -> None:
    node = config.load((DOCS / "fairhop.yaml").read_text(), "docs/fairhop.yaml")
    assert encode(state_of(node), INTERFACES).directory
    told = backend.load((DOCS / "backend.yaml").read_text(), "docs/backend.yaml")
    assert encode_decap(told.decap_state)


def test_what_the_backend_says_of_segments_fits_what_the_node_says_of_the_path() -> None:
    """Edges' mtu, less IPv6 underlay (40) and GRE with key (8), less IP and TCP of the client's packet."""
    node = config.load((DOCS / "fairhop.yaml").read_text(), "docs/fairhop.yaml")
    told = backend.load((DOCS / "backend.yaml").read_text(), "docs/backend.yaml")
    inside = node.forwarder.mtu - 48
    assert (told.advmss, told.advmss6) == (inside - 40, inside - 60)
