"""The stored intent: what goes in comes out, a bad file is named, a failed write changes nothing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.control.intent_store import IntentStore
from edge.decide.intent import Drain, Intent, IntentError, encode, parse

DRAINS = st.builds(Drain, since=st.just("2026-01-01T00:00:00Z"), uid=st.integers(0, 2**31), reason=st.text(max_size=20))
INTENTS = st.builds(Intent, st.none() | DRAINS, st.dictionaries(st.text(min_size=1, max_size=8), DRAINS, max_size=4))


@given(INTENTS)
def test_what_is_stored_is_read_back(intent: Intent) -> None:
    assert parse(encode(intent), "intent.json") == intent


@given(INTENTS, DRAINS)
def test_undrain_takes_back_exactly_one_drain(intent: Intent, drain: Drain) -> None:
    drained = intent.with_backend("another", drain)
    assert drained.backends["another"] == drain
    assert "another" not in drained.with_backend("another", None).backends
    assert intent.with_node(drain).with_node(None).node is None


def test_there_is_nothing_drained_before_the_first_drain(tmp_path: Path) -> None:
    assert IntentStore(tmp_path / "intent.json").load() == Intent()


def test_a_store_keeps_across_instances(tmp_path: Path) -> None:
    intent = Intent(node=Drain("2026-01-01T00:00:00Z", 0, "rack move"))
    IntentStore(tmp_path / "state" / "intent.json").save(intent)
    assert IntentStore(tmp_path / "state" / "intent.json").load() == intent


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"version": 2, "node": null, "backends": {}}', '{"version": 1, "node": 5}']
)
def test_a_damaged_file_is_named(text: str) -> None:
    with pytest.raises(IntentError, match=r"^intent\.json: "):
        parse(text, "intent.json")


def test_a_failed_write_leaves_the_old_intent(tmp_path: Path) -> None:
    store = IntentStore(tmp_path / "intent.json")
    store.save(Intent(node=Drain("2026-01-01T00:00:00Z", 0)))
    (tmp_path / "intent.new").mkdir()
    with pytest.raises(IntentError, match="nothing changed"):
        store.save(Intent())
    assert store.load().node is not None
