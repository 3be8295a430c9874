"""The live page of a real lab: what happens to nodes and links is seen within 2 s, and nothing of the lab is held."""

import os
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from lab.cli.files import read_topology
from lab.netns.runtime import NetnsRuntime
from lab.view.server import Board, Server
from lab.view.source import Source
from tests import browser
from tests.lab import machine
from tests.lab.view.pages import WITHIN, document

pytestmark = [*browser.marks, *machine.marks]

SMALL = """
topology:
  defaults: {kind: linux, network-mode: none}
  nodes:
    r1: {labels: {fairhop.role: router}, exec: [ip addr add 10.9.0.0/31 dev eth1, ip link set eth1 up]}
    e1: {labels: {fairhop.role: edge, fairhop.site: a}, exec: [ip addr add 10.9.0.1/31 dev eth1]}
    b1: {labels: {fairhop.role: backend, fairhop.site: a}}
  links:
    - {endpoints: ["r1:eth1", "e1:eth1"], mtu: 1500}
    - {endpoints: ["r1:eth2", "b1:eth1"], mtu: 1500}
"""


def test_a_real_lab_is_followed(tmp_path: Path) -> None:
    name = f"view{os.getpid()}"
    file = tmp_path / "t.clab.yml"
    file.write_text(f"name: {name}{SMALL}")
    lab = read_topology(file)
    board = Board()
    with (
        NetnsRuntime(lab) as runtime,
        Server("127.0.0.1", 0, document(lab), board) as server,
        browser.tab(tmp_path / "profile") as tab,
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
            journal = Path("/run/fairhop/lab", name, "faults.json")
            journal.write_text('[{"name": "x", "kind": "mtu", "text": "mtu 900 on r1:eth1", "since": 1}]')
            expect(tab.page.locator('[data-node="r1"].faulted')).to_be_visible(timeout=WITHIN)
            runtime.destroy(lambda _: None)
            expect(tab.page.locator("#n-nodes")).to_have_text("0 of 3", timeout=WITHIN)
            machine.wait_for_nothing(name)
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
