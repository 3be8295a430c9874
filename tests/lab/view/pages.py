"""The live page as the command serves it."""

from lab.report import assets
from lab.topology.model import Topology
from lab.view.page import render

WITHIN = 2_000  # ms from a change to the page


def document(lab: Topology, runtime: str = "netns") -> str:
    """The page as the command serves it."""
    sheet = assets.shared_sheet() + assets.text("lab.view", "view.css")
    return render(lab, runtime, sheet, assets.text("lab.view", "view.js"))
