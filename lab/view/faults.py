"""Reads the journal of active faults, tolerantly: another tool writes it, perhaps a later version. No I/O."""

import json
from collections.abc import Mapping
from typing import Any

from lab.view.model import ActiveFault


def read(text: str) -> list[ActiveFault]:
    """The faults in a journal: a list of objects, or an object that holds it. Raises ValueError when it is neither."""
    document = json.loads(text or "[]")
    rows = document.get("faults", document.get("active")) if isinstance(document, Mapping) else document
    if not isinstance(rows, list):
        raise ValueError("the journal of faults holds no list")
    return [_fault(row) for row in rows if isinstance(row, Mapping)]


def _fault(row: Mapping[str, Any]) -> ActiveFault:
    inner = row.get("fault")
    kind = str(row.get("kind") or (next(iter(inner), "") if isinstance(inner, Mapping) else inner or ""))
    since = row.get("since")
    plain = float(since) if isinstance(since, (int, float)) else None
    return ActiveFault(str(row.get("name") or kind), kind, str(row.get("text") or kind), plain)
