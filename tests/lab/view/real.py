"""A small real lab and its live page: what happens to nodes and links is seen in time. For either runtime."""

import time
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from lab.runtime import Runtime
from lab.topology.model import Topology
from lab.view.server import Board, Server
from lab.view.source import Source
from tests import browser
from tests.lab.view.pages import WITHIN, document

SMALL = """
topology:
  defaults:
    kind: linux
    image: fairhop-lab/host:local
    cmd: sleep infinity
    network-mode: none
    privileged: false
    cap-add: [NET_ADMIN, NET_RAW]
    restart-policy: "no"
  nodes:
    r1: {labels: {fairhop.role: router}, exec: [ip addr add 10.9.0.0/31 dev eth1, ip link set eth1 up]}
    e1: {labels: {fairhop.role: edge, fairhop.site: a}, exec: [ip addr add 10.9.0.1/31 dev eth1]}
    b1: {labels: {fairhop.role: backend, fairhop.site: a}}
  links:
    - {endpoints: ["r1:eth1", "e1:eth1"], mtu: 1500}
    - {endpoints: ["r1:eth2", "b1:eth1"], mtu: 1500}
"""


def is_followed(runtime: Runtime, lab: Topology, folder: Path) -> None:
    """Bring `lab`, which is SMALL under some name, up and down, and look at its page meanwhile; `folder` is empty."""
    board = Board()
    with (
        Server("127.0.0.1", 0, document(lab, runtime.name), board) as server,
        browser.tab(folder / "profile") as tab,
    ):
        runtime.deploy(lambda _: None)
        with Source(runtime, lab, None, board):
            server.start()
            tab.page.goto(server.url)
            expect(tab.page.locator("#n-nodes")).to_have_text("3 of 3", timeout=5_000)
            with runtime.spawn("r1", ["ping", "-q", "-i", "0.01", "-w", "20", "10.9.0.1"]) as ping:
                _wait_for_rate(board, 60)
                expect(tab.page.locator("#n-rate")).not_to_have_text("0", timeout=WITHIN)
                ping.kill()
            runtime.exec("r1", ["ip", "link", "set", "eth2", "down"])
            expect(tab.page.locator('.link[data-a="r1:eth2"].broken')).to_have_count(1, timeout=WITHIN)
            runtime.kill("e1")
            expect(tab.page.locator('[data-node="e1"].down')).to_be_visible(timeout=WITHIN)
            runtime.start("e1")
            expect(tab.page.locator('[data-node="e1"].down')).to_have_count(0, timeout=WITHIN)
            journal = Path("/run/fairhop/lab", lab.name, "faults.json")
            journal.parent.mkdir(parents=True, exist_ok=True)
            journal.write_text('[{"name": "x", "kind": "mtu", "text": "mtu 900 on r1:eth1", "since": 1}]')
            expect(tab.page.locator('[data-node="r1"].faulted')).to_be_visible(timeout=WITHIN)
            runtime.destroy(lambda _: None)
            expect(tab.page.locator("#n-nodes")).to_have_text("0 of 3", timeout=WITHIN)
        assert tab.complaints == []


def _wait_for_rate(board: Board, least: float) -> None:
    """Until the first link carries that many packets a second each way, as counted."""
    deadline, state = time.monotonic() + 10, dict[str, Any]()
    while time.monotonic() < deadline:
        state = board.newer(state.get("number", -1), 2)
        if state.get("links") and min(state["links"][0]["packets"]) > least:
            assert max(state["links"][0]["packets"]) < 110, "a hundred pings a second"
            return
    raise AssertionError(f"the link carries {state['links'][0]['packets']}")
