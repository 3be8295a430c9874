"""The live page as one HTML document: the drawing of the topology, and places that the script fills. No I/O."""

from lab.report import layout, topology
from lab.report.result import Link, Node, Topology
from lab.report.svg import Markup, el
from lab.topology.model import Topology as LabTopology

_BROAD = 900.0  # a drawing that is wider than this takes the whole width of the page
_KEYS = (
    ("Tab", "to the topology, the tables, the search"),
    ("← ↑ → ↓", "from node to node"),
    ("Enter", "details of the node"),
    ("Escape", "close the details, or leave the search"),
    ("/", "search nodes; Enter goes to the first that matches"),
    ("?", "this list"),
)


def drawn(lab: LabTopology) -> Topology:
    """A lab's topology as the drawing wants it; a node without our labels has no role."""
    nodes = [
        Node(name=name, role=node.labels.get("fairhop.role", ""), site=node.labels.get("fairhop.site", ""))
        for name, node in lab.nodes.items()
    ]
    return Topology(
        name=lab.name, nodes=tuple(nodes), links=tuple(Link(a=str(link.a), b=str(link.b)) for link in lab.links)
    )


def render(lab: LabTopology, runtime: str, sheet: str, script: str) -> str:
    """The page; `sheet` and `script` stand in it."""
    shape = drawn(lab)
    head = el(
        "head", el("meta", charset="utf-8"), el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{lab.name} - fairhop lab view"), el("style", Markup(sheet)),
    )  # fmt: skip
    main = el(
        "main",
        el(
            "section", el("h2", "Topology", id="h-topology"),
            el("div", topology.draw(shape, focusable=True), class_="wide", id="topology"),
            topology.legend(shape), _states(), aria_labelledby="h-topology", class_="card big",
        ),
        _side(),
        _table("links", "Links", ("link", "packets/s", "bits/s", "last minute, packets/s"), "card big"),
        _table("sessions", "BGP sessions", ("node", "peer", "state", "prefixes", "since"), "card side"),
        class_="broad" if layout.plan(shape).width > _BROAD else None,
    )  # fmt: skip
    body = el("body", _top(lab.name, runtime), main, _detail(), _help(), _live_region(), el("script", Markup(script)))
    return "<!doctype html>\n" + el("html", head, body, lang="en") + "\n"


def _top(name: str, runtime: str) -> Markup:
    search = el(
        "input", type="search", id="search", placeholder="search nodes  ( / )", aria_label="search nodes",
        autocomplete="off", spellcheck="false",
    )  # fmt: skip
    return el(
        "header",
        el("h1", name, el("span", runtime, class_="runtime")),
        el("p", *(el("span", el("b", "-", id=f"n-{key}"), f" {words}") for key, words in _COUNTS), class_="counts"),
        el("span", "connecting", id="freshness", class_="chip", role="status"),
        search,
        el("button", "?", type="button", id="help-button", aria_label="keys", aria_haspopup="dialog"),
    )


_COUNTS = (("nodes", "nodes run"), ("sessions", "sessions up"), ("faults", "faults"), ("rate", "packets/s on links"))


def _states() -> Markup:
    """What the borders and signs of nodes mean."""
    items = (("up", "✓", "up"), ("degraded", "!", "a link or a session is down"), ("down", "✗", "does not run"))
    keys = (el("span", el("b", sign, class_=f"sign {state}"), words, class_="key") for state, sign, words in items)
    fault = el("span", el("b", "⚡", class_="sign fault"), "a fault is active there", class_="key")
    return el("p", *keys, fault, class_="legend")


def _side() -> Markup:
    return el(
        "section",
        el("h2", "Active faults", id="h-faults"), el("ul", id="faults", aria_labelledby="h-faults"),
        el("h2", "Recent route changes", id="h-changes"), el("ol", id="changes", aria_labelledby="h-changes"),
        el("div", id="problems", role="status"), class_="card side",
    )  # fmt: skip


def _table(name: str, title: str, head: tuple[str, ...], class_: str) -> Markup:
    headings = (el("th", words, scope="col") for words in head)
    table = el("table", el("thead", el("tr", *headings)), el("tbody", id=name), aria_labelledby=f"h-{name}")
    frame = el("div", table, class_="wide scroll", tabindex=0, role="region", aria_labelledby=f"h-{name}")
    return el("section", el("h2", title, id=f"h-{name}"), frame, class_=class_)


def _detail() -> Markup:
    close = el("button", "✕", type="button", id="detail-close", aria_label="close the details")
    return el(
        "aside", el("h2", id="detail-name", tabindex=-1), close, el("div", id="detail-body"), id="detail",
        role="dialog", aria_labelledby="detail-name", hidden=True,
    )  # fmt: skip


def _help() -> Markup:
    rows = [el("tr", el("td", el("kbd", key)), el("td", words)) for key, words in _KEYS]
    close = el("form", el("button", "close"), method="dialog")
    return el("dialog", el("h2", "Keys", id="h-help"), el("table", *rows), close, id="help", aria_labelledby="h-help")


def _live_region() -> Markup:
    return el("div", id="said", role="log", aria_live="polite", class_="unseen")
