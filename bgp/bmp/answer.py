"""What a looking glass answers: {ROUTER: {PREFIX: [ROUTER_ID of each announcer, ...]}}, as the facts of routers.

A router that is absent is unknown; a prefix that is absent has no announcer there.
"""

import json
from ipaddress import IPv4Address
from typing import Any

from bgp.bmp.config import ReadBackConfig
from bgp.bmp.update import Path
from bgp.bmp.view import Facts, OurRoute
from bgp.route import Prefix, parse_prefix


class AnswerError(ValueError):
    """The text is no answer; it says where."""


def parse_answer(text: bytes, config: ReadBackConfig) -> dict[str, Facts]:
    """The facts of each configured router that the answer names; prefixes that are not ours are left out.

    Raises AnswerError.
    """
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        raise AnswerError(f"{len(text)} bytes that are not JSON") from None
    if not isinstance(plain, dict):
        raise AnswerError("expected an object {ROUTER: {PREFIX: [ROUTER_ID]}}")
    names = {router.name for router in config.routers}
    return {name: _facts(name, table, config) for name, table in plain.items() if name in names}


def _facts(name: str, table: Any, config: ReadBackConfig) -> Facts:
    if not isinstance(table, dict):
        raise AnswerError(f"{name}: expected an object {{PREFIX: [ROUTER_ID]}}")
    wanted = set(config.prefixes)
    ours: dict[Prefix, OurRoute] = {}
    others: dict[Prefix, dict[str, bool]] = {}
    for text, ids in table.items():
        try:
            prefix = parse_prefix(text)
            announcers = {IPv4Address(each) for each in ids}
        except (ValueError, TypeError) as error:
            raise AnswerError(f"{name}: {str(text)[:60]!r}: {error}") from None
        if prefix not in wanted:
            continue
        if config.router_id in announcers:
            ours[prefix] = OurRoute(None, Path())
        if announcers - {config.router_id}:
            others[prefix] = {f"node {each}": False for each in announcers - {config.router_id}}
    return Facts(session=True, complete=True, ours=ours, others=others)
