"""The rules of a fairhop.yaml about its checks: what must hold between their values (core: no I/O)."""

from collections.abc import Callable, Iterator
from typing import Any

from edge.config.findings import Finding, is_number, read_address, read_prefix, shown, vips
from edge.text.strictyaml import Document, Path

_INTERVAL = 0.5
_SUPPRESS, _REUSE = 1500, 750


def _checks(document: Document) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every check, alone or in a list, of pools and of services."""
    for pattern in (("pools", "*", "check"), ("services", "*", "local_check")):
        for path, found in (*document.select(*pattern), *document.select(*pattern, "*")):
            # The values of a check that stands alone match "*" as well.
            if isinstance(found, dict) and (len(path) == len(pattern) or isinstance(path[-1], int)):
                yield path, found


def _times(document: Document) -> Iterator[Finding]:
    for path, check in _checks(document):
        interval = check.get("interval", _INTERVAL)
        for key in ("timeout", "fast_interval"):
            given = check.get(key, 0)
            if is_number(given) and is_number(interval) and given > interval:
                yield (*path, key), f"{key} is {given}: expected at most the interval, {interval}"


def _damping(document: Document) -> Iterator[Finding]:
    for path, check in _checks(document):
        damping = check.get("damping")
        if isinstance(damping, dict):
            suppress, reuse = damping.get("suppress", _SUPPRESS), damping.get("reuse", _REUSE)
            if is_number(suppress) and is_number(reuse) and reuse >= suppress:
                yield (*path, "damping"), f"damping.reuse is {reuse}: expected less than damping.suppress, {suppress}"


def _exclusive(document: Document) -> Iterator[Finding]:
    """Keys of which at most one may be given, and for a process exactly one."""
    for path, check in _checks(document):
        for one, other in (("send", "send_hex"), ("expect", "expect_hex"), ("pidfile", "unit")):
            if check.get(one) is not None and check.get(other) is not None:
                yield (*path, other), f"{other} is given beside {one}: expected one of them"
        if check.get("type") == "process" and check.get("pidfile") is None and check.get("unit") is None:
            yield path, "a process check has neither pidfile nor unit: expected one of them"


def _tls(document: Document) -> Iterator[Finding]:
    for path, check in _checks(document):
        if check.get("verify") is False:
            for key in ("ca_file", "min_days"):
                if check.get(key):
                    yield (*path, key), f"{key} is {check[key]!r}: expected none, because verify is false"
        if check.get("client_key") is not None and check.get("client_cert") is None:
            yield (*path, "client_key"), "client_key is given without client_cert"


def _commands(document: Document) -> Iterator[Finding]:
    for path, check in _checks(document):
        command = check.get("command")
        if isinstance(command, list) and command:
            if not str(command[0]).startswith("/"):
                yield (*path, "command", 0), f"program '{command[0]}': expected a path that begins with /"
            for number, word in enumerate(command):
                if "\0" in str(word):
                    yield (*path, "command", number), "a word of a command cannot contain a zero byte"


def _tunnels(document: Document) -> Iterator[Finding]:
    served = vips(document)
    sources = [
        read_prefix(value)
        for key in ("outer_source", "outer_source6")
        for _, value in document.select("forwarder", key)
    ]
    for path, check in _checks(document):
        if check.get("type") != "tunnel":
            continue
        vip, source = read_address(check.get("vip")), read_address(check.get("source"))
        if vip and not any(vip.version == each.version and vip in each for each in served):
            known = ", ".join(shown(each) for each in served)
            yield (*path, "vip"), f"vip {vip} is no VIP of this file: expected one of {known}"
        if vip and source and vip.version != source.version:
            yield (*path, "source"), f"source {source}: expected an IPv{vip.version} address, as the vip is"
        if source and any(each and source in each for each in sources):
            yield (
                (*path, "source"),
                f"source {source} is one that tunnels come from: backends take no client's packet from it; "
                "expected another address of this node",
            )
        if check.get("probe", "tcp") == "tcp" and check.get("port") is None:
            yield path, "a tunnel check by tcp has no port: expected the port of a service"


RULES: tuple[Callable[[Document], Iterator[Finding]], ...] = (
    _times, _damping, _exclusive, _tls, _commands, _tunnels,
)  # fmt: skip
