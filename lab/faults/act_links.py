"""Makes the faults of links."""

import json
from collections.abc import Iterable

from lab.faults import links
from lab.faults.act import Act
from lab.faults.model_links import BfdDown, Blackhole, LinkDown, Loss, Mtu, Rate
from lab.runtime import LabError
from lab.topology.model import Endpoint

_MILLION = 1_000_000
_ETHERNET = 14
_IPV6_MINIMUM = 1280
_HOOKS = {"in": ("ingress",), "out": ("egress",), "both": ("ingress", "egress")}


def link_down(act: Act, fault: LinkDown) -> str:
    """Set the end down, with its addresses and routes kept for later."""
    end = act.site.end(fault.on)
    before = links.state(act.site, end.node, end.interface)
    act.before("interface", end.node, *before.words())
    links.down(act.site, end.node, end.interface)
    return f"{fault.on} set down; {act.site.peer(end)} has no carrier"


def loss(act: Act, fault: Loss) -> str:
    """Drop by chance."""
    share = round(fault.percent / 100 * _MILLION)
    chance = "" if share >= _MILLION else f"numgen random mod {_MILLION} < {share} "
    at = _drop(act, fault.on, fault.direction, f"{chance}counter drop")
    return f"{fault.percent:g} % of the packets dropped, {at}"


def blackhole(act: Act, fault: Blackhole) -> str:
    """Drop all."""
    return f"every packet dropped, {_drop(act, fault.on, fault.direction, 'counter drop')}"


def bfd_down(act: Act, fault: BfdDown) -> str:
    """Drop BFD, of one hop and of several."""
    return f"BFD dropped, {_drop(act, fault.on, fault.direction, 'udp dport { 3784, 3785, 4784 } counter drop')}"


def mtu(act: Act, fault: Mtu) -> str:
    """Lower the MTU of both ends, or drop what is longer without a word."""
    if fault.silent:
        end, _ = act.site.plain(act.site.end(fault.on), "both")
        chains = [
            _chain("egress", end, f"meta length > {fault.bytes + _ETHERNET} counter drop"),
            _chain("ingress", end, f"meta length > {fault.bytes} counter drop"),
        ]
        act.nft(end.node, "netdev", "\n".join(chains))
        return f"packets of more than {fault.bytes} bytes dropped without a word, at {end}"
    if fault.bytes < _IPV6_MINIMUM:
        raise LabError(f"mtu {fault.bytes}: less than {_IPV6_MINIMUM} would end IPv6; with 'silent: true' it works")
    end = act.site.end(fault.on)
    for each in (end, act.site.peer(end)):
        before = links.state(act.site, each.node, each.interface)
        act.before("interface", each.node, *before.words())
        act.site.must(each.node, "ip", "link", "set", "dev", each.interface, "mtu", str(fault.bytes))
    return f"MTU of {end} and {act.site.peer(end)} is {fault.bytes}"


def rate(act: Act, fault: Rate) -> str:
    """A token bucket before the interface; for what arrives, before an ifb that it passes through."""
    end, direction = act.site.plain(act.site.end(fault.on), fault.direction)
    numbers = (f"{round(fault.mbit * 1e6)}bit", "burst", str(_burst(fault.mbit)), "latency", f"{fault.queue_ms:g}ms")
    bucket = ("tbf", "rate", *numbers)
    if direction in ("out", "both"):
        _require_no_qdisc(act, end, "root", ("noqueue", "pfifo_fast"))
        _keep_queue_length(act, end)
        act.before("qdisc", end.node, end.interface, "root", "fa17:")
        act.site.must(end.node, "tc", "qdisc", "add", "dev", end.interface, "root", "handle", "fa17:", *bucket)
    if direction in ("in", "both"):
        _require_no_qdisc(act, end, "ingress", ())
        device = "ifb" + act.mark[-8:]
        act.before("link-gone", end.node, device)
        act.site.must(end.node, "ip", "link", "add", device, "type", "ifb")
        act.site.must(end.node, "ip", "link", "set", device, "up")
        act.site.must(end.node, "tc", "qdisc", "add", "dev", device, "root", "handle", "fa17:", *bucket)
        _keep_queue_length(act, end)
        act.before("qdisc", end.node, end.interface, "ingress", "ffff:")
        act.site.must(end.node, "tc", "qdisc", "add", "dev", end.interface, "handle", "ffff:", "ingress")
        redirect(act, end, device, "egress")
    return f"{fault.mbit:g} Mbit/s {direction}, at {end}"


def redirect(act: Act, end: Endpoint, device: str, towards: str) -> None:
    """Hand all that arrives at `end` to `device`; there is no other classifier than u32 in small kernels."""
    match = ("u32", "match", "u32", "0", "0", "action", "mirred", towards, "redirect", "dev", device)
    act.site.must(end.node, "tc", "filter", "add", "dev", end.interface, "parent", "ffff:", "protocol", "all", *match)


def _keep_queue_length(act: Act, end: Endpoint) -> None:
    """The kernel gives an interface without a queue, as containerlab makes them, a length with its first qdisc."""
    (shown,) = json.loads(act.site.must(end.node, "ip", "-j", "link", "show", "dev", end.interface))
    act.before("queue-length", end.node, end.interface, str(shown.get("txqlen", 0)))


def _burst(mbit: float) -> int:
    """Bytes at once: ten milliseconds' worth, and never less than two large frames."""
    return max(3200, round(mbit * 1e6 / 8 * 0.01))


def _require_no_qdisc(act: Act, end: Endpoint, where: str, usual: Iterable[str]) -> None:
    lines = act.site.must(end.node, "tc", "qdisc", "show", "dev", end.interface).splitlines()
    kinds = {line.split()[1] for line in lines}
    taken = kinds & {"ingress", "clsact"} if where == "ingress" else kinds - {*usual, "ingress", "clsact"}
    if taken:
        raise LabError(f"{end} has the qdisc {', '.join(sorted(taken))} already, of another fault or of its own")


def _drop(act: Act, on: str, direction: str, rule: str) -> str:
    """Put a rule on the hooks of a link; where that is, in words."""
    end, seen = act.site.plain(act.site.end(on), direction)
    act.nft(end.node, "netdev", "\n".join(_chain(hook, end, rule) for hook in _HOOKS[seen]))
    return f"{' and '.join(_HOOKS[seen])} of {end}"


def _chain(hook: str, end: Endpoint, rule: str) -> str:
    return f'chain {hook} {{\n type filter hook {hook} device "{end.interface}" priority 0;\n {rule}\n}}'
