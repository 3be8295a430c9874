"""What of a file is accepted although it does nothing on namespaces: told to people once, when the lab is deployed."""

from collections.abc import Iterator

from edge.text.strictyaml import Document
from lab.topology.keys import MISSING_HERE, at, tolerated
from lab.topology.model import Topology

_NAMED = 3


def notes(document: Document, topology: Topology) -> tuple[str, ...]:
    """One sentence for each thing, whatever the number of nodes that it concerns."""
    return tuple(_notes(document, topology))


def _notes(document: Document, topology: Topology) -> Iterator[str]:
    file = at(document, (), dict)
    managed = [node.name for node in topology.nodes.values() if node.kind == "linux" and node.network_mode == "bridge"]
    if "mgmt" in file or managed:
        yield "there is no management network here: no node has an eth0 (network-mode: none says the same)"
    said = sorted({str(path[-1]) for path in tolerated(document)} & MISSING_HERE.keys())
    for key in said:
        if not key.startswith("mgmt-"):
            yield f"key '{key}' is ignored: {MISSING_HERE[key]}"
    idle = [node.name for node in topology.nodes.values() if node.kind == "linux" and node.image and not node.command]
    if idle:
        words = "images are not used here, nodes run on the machine's own root file system"
        yield f"{words}: {_names(idle)} without cmd or entrypoint only sleep"


def _names(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
