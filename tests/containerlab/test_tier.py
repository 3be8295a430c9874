"""The rule of the tier itself: what is missing is named, and where the tier is required that is a failure."""

import pytest

from lab.clab.tool import CHECKOUT
from tests.containerlab import tier


def test_a_missing_command_skips_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAIRHOP_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="containerlab tier: `no-such-command` is not installed"):
        tier.need("no-such-command", "nowhere")


def test_a_missing_command_fails_where_the_tier_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRHOP_REQUIRE", "kernel,containerlab")
    with pytest.raises(pytest.fail.Exception, match="asks for the containerlab tier, but `no-such-command`"):
        tier.need("no-such-command", "nowhere")


def test_a_requirement_of_another_tier_fails_nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRHOP_REQUIRE", "kernel")
    with pytest.raises(pytest.skip.Exception):
        tier.need("no-such-command", "nowhere")


def test_the_tool_looks_for_its_binary_in_the_checkout() -> None:
    assert (CHECKOUT / "containerlab" / "tools" / "build").exists()
