"""The live page in a real browser: it follows changes within 2 s, and the keyboard alone does everything."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from lab.topology.parse import load
from lab.view.live import Ends, Live
from lab.view.model import ActiveFault, Change, Counters, NodeSample, Sample, Session
from lab.view.server import Board, Server
from tests import browser
from tests.lab.report import sample as reports
from tests.lab.view.pages import WITHIN, document

pytestmark = browser.marks


class Fake:
    """A lab of 45 nodes that does what the test says."""

    def __init__(self) -> None:
        shape = reports.topology(sites=3, edges=4, backends=7, transits=3, clients=1)
        nodes = "".join(
            f"    {node['name']}: {{labels: {{fairhop.role: {node['role']}, fairhop.site: '{node['site']}'}}}}\n"
            for node in shape["nodes"]
        )
        links = "".join(f'    - {{endpoints: ["{link["a"]}", "{link["b"]}"]}}\n' for link in shape["links"])
        self.lab = load(
            f"name: fake\ntopology:\n  defaults: {{kind: linux}}\n  nodes:\n{nodes}  links:\n{links}", "fake.clab.yml"
        )
        ends = [Ends(each.a.node, each.a.interface, each.b.node, each.b.interface) for each in self.lab.links]
        self.live, self.board, self.now = Live("fake", "netns", ends, {"10.0.0.9": "a-r1"}), Board(), 0.0
        self.step()
        self.step()

    def step(self, dead: str = "", faults: tuple[ActiveFault, ...] = (), changes: tuple[Change, ...] = ()) -> None:
        """One second later."""
        self.now += 1
        packets = int(self.now * 1234)
        interfaces = {name: [e.interface for e in self.lab.endpoints(name)] for name in self.lab.nodes}
        nodes = {
            name: NodeSample(
                "exited" if name == dead else "running",
                {each: Counters(True, packets, packets, packets * 99, packets * 99) for each in interfaces[name]},
            )
            for name in self.lab.nodes
        }
        self.live.take(Sample(self.now, nodes, faults))
        self.live.take_sessions("a-e1", self.now, [Session("10.0.0.9", "Established", True, 4, 61)])
        self.live.take_changes(changes)
        self.board.publish(self.live.state(self.now))


@pytest.fixture(scope="module", name="fake")
def _fake() -> Fake:
    return Fake()


@pytest.fixture(scope="module", name="tab")
def _tab(fake: Fake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Tab]:
    with (
        Server("127.0.0.1", 0, document(fake.lab), fake.board) as server,
        browser.tab(tmp_path_factory.mktemp("profile"), width=1440, height=1000) as opened,
    ):
        server.start()
        opened.page.goto(server.url)
        yield opened
        assert opened.complaints == []
        assert all(url.startswith(server.url) for url in opened.asked)


def label(tab: browser.Tab) -> str:
    """What has the focus, in words."""
    return str(tab.page.evaluate("document.activeElement.dataset.node || document.activeElement.id"))


def test_45_nodes_are_drawn_with_their_rates(tab: browser.Tab, fake: Fake) -> None:
    assert len(fake.lab.nodes) == 45
    expect(tab.page.locator("#n-nodes")).to_have_text("45 of 45", timeout=WITHIN)
    expect(tab.page.locator('[data-node="a-e1"] .node-role')).to_have_text("↓2.5k ↑2.5k")
    expect(tab.page.locator("#freshness")).to_have_text("live")
    browser.ARTIFACTS.mkdir(parents=True, exist_ok=True)
    tab.page.screenshot(path=browser.ARTIFACTS / "view.png", full_page=True)


def test_a_change_is_seen_within_two_seconds(tab: browser.Tab, fake: Fake) -> None:
    fault = ActiveFault("lossy", "loss", "30 % of packets towards b-r1:eth2 are lost", None)
    fake.step(dead="a-e2", faults=(fault,), changes=(Change(fake.now, "a-r1", "203.0.113.10/32", ()),))
    expect(tab.page.locator('[data-node="a-e2"] .node-role')).to_have_text("exited", timeout=WITHIN)
    expect(tab.page.locator('[data-node="b-r1"].faulted')).to_be_visible()
    expect(tab.page.locator("#faults")).to_contain_text("lossy 30 % of packets")
    expect(tab.page.locator("#changes")).to_contain_text("a-r1 203.0.113.10/32 via nothing")
    expect(tab.page.locator("#said")).to_contain_text("a-e2 is exited")
    fake.step()
    expect(tab.page.locator('[data-node="a-e2"].up')).to_be_visible(timeout=WITHIN)


def test_the_keyboard_alone_is_enough(tab: browser.Tab) -> None:
    keys = tab.page.keyboard
    tab.page.evaluate("document.activeElement.blur()")
    keys.press("/")
    assert label(tab) == "search"
    keys.type("b-e")
    assert tab.page.locator(".node:not(.dim)").count() == 4
    keys.press("Enter")
    assert label(tab) == "b-e1"
    keys.press("/")
    keys.press("Escape")
    assert tab.page.locator(".node.dim").count() == 0
    tab.page.locator('[data-node="b-e1"]').focus()
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    assert label(tab) == "b-e3"
    keys.press("ArrowUp")
    assert label(tab) in ("b-r1", "b-r2")
    keys.press("ArrowDown")
    assert label(tab).startswith("b-e")
    name = label(tab)
    keys.press("Enter")
    detail = tab.page.locator("#detail")
    expect(detail).to_be_visible()
    expect(detail.get_by_role("heading", name=name)).to_be_focused()
    expect(detail).to_contain_text("eth1")
    keys.press("Escape")
    expect(detail).to_be_hidden()
    assert label(tab) == name
    keys.press("?")
    expect(tab.page.get_by_role("dialog")).to_contain_text("search nodes")
    keys.press("Escape")
    expect(tab.page.locator("#help")).to_be_hidden()


def test_tab_enters_the_topology_once(tab: browser.Tab) -> None:
    assert tab.page.locator('.node[tabindex="0"]').count() == 1
    tab.page.locator("#help-button").focus()
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.getAttribute('role')") == "button"
    assert tab.page.evaluate("document.activeElement.classList.contains('node')")
    tab.page.keyboard.press("Tab")
    assert not tab.page.evaluate("document.activeElement.classList.contains('node')")


def test_details_show_sessions(tab: browser.Tab) -> None:
    tab.page.locator('[data-node="a-e1"]').click()
    expect(tab.page.locator("#detail-body")).to_contain_text("a-r110.0.0.9Established41 min")
    tab.page.keyboard.press("Escape")
