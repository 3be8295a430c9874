"""Makes the faults of an edge: of its checks and of its configuration."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from edge.text.strictyaml import ConfigError
from lab.faults import edge_config
from lab.faults.act import Act
from lab.faults.act_nodes import stop
from lab.faults.model_edges import CheckerHangs, CheckerLies, Config
from lab.netns import linux
from lab.runtime import LabError

FILE = "/etc/fairhop/fairhop.yaml"
_CHECKER = "edge.checks"
_TUNNELS = "{ gre, ipencap, ipv6 }"


def config(act: Act, fault: Config) -> str:
    """Mount a changed copy over the node's file, in the node alone, and have the daemon read it."""
    node, stage = fault.node, f"/run/{act.mark}"
    try:
        text = edge_config.edited(_file(act, node), fault.set)
    except (ValueError, ConfigError) as error:
        raise LabError(f"node {node}: {error}") from None
    if any(line.split()[1] == FILE and line.startswith("fault_") for line in _mounts(act, node)):
        raise LabError(f"node {node} has another file by a fault already: revert that one first")
    act.before("reload", node)
    act.before("remove", node, stage)
    act.before("unmount", node, stage, act.mark)
    act.before("unmount", node, FILE, act.mark)

    def lay() -> None:
        Path(stage).mkdir()
        linux.mount(act.mark, stage, "tmpfs", 0, "mode=755")
        copy = Path(stage, "fairhop.yaml")
        copy.write_text(text)
        copy.chmod(0o644)
        linux.bind(str(copy), FILE)

    act.site.in_root(node, lay)
    done = act.site.runtime.exec(node, ["fairhop", "reload"])
    said = (done.stdout.strip() or done.stderr.strip()).replace("\n", "; ")
    if bool(done.returncode) is not fault.refused:
        wanted = "must be refused, but was taken" if fault.refused else "was refused"
        raise LabError(f"node {node}: the reload {wanted}, exit code {done.returncode}: {said}")
    values = ", ".join(f"{place}: {value}" for place, value in fault.set.items())
    return f"{node} has {values}; {f'refused with exit code {done.returncode}: ' if fault.refused else ''}{said}"


def checker_lies(act: Act, fault: CheckerLies) -> str:
    """Refuse the checker's probes in the node itself, or lead them to a helper that says yes to all."""
    node = fault.node
    to, text = _backends(act, node, fault.backends), _file(act, node)
    whose = f"meta skuid {_user(act, node)}"
    if fault.answer == "down":
        rules = []
        for match in _matches(to):
            rules += [
                f"{whose} {match} meta l4proto tcp counter reject with tcp reset",
                f"{whose} {match} counter reject",
                f"{match} meta l4proto {_TUNNELS} counter drop",  # root's: the data path's own pass no such hook
            ]
        act.nft(node, "inet", _hooked("type filter hook output priority 0", rules))
        return f"the checks of {node} find {', '.join(to)} down{_flapping(act, fault)}"
    try:
        asked = edge_config.checks(text)
    except (ValueError, ConfigError) as error:
        raise LabError(f"node {node}: {error}") from None
    words = [f"{each.type}:{each.port}:{each.status}:{each.answer.hex()}" for each in asked]
    ports = act.helper(node, "responder", *dict.fromkeys(words)).split()
    rules = [
        f"{whose} {match} {'udp' if word.startswith('udp') else 'tcp'} dport {word.split(':')[1]} counter "
        f"redirect to :{port}"
        for match in _matches(to)
        for word, port in zip(dict.fromkeys(words), ports, strict=True)
    ]
    act.nft(node, "inet", _hooked("type nat hook output priority -100", rules))
    return f"the checks of {node} find {', '.join(to)} up, whatever they are{_flapping(act, fault)}"


def _flapping(act: Act, fault: CheckerLies) -> str:
    """Have a helper switch the rules, where the fault asks for it; in words."""
    if fault.every is None:
        return ""
    act.helper(fault.node, "blink", "inet", f"{fault.every:g}")
    return f", every other {fault.every:g} s"


def checker_hangs(act: Act, fault: CheckerHangs) -> str:
    """Stop the checker, or drop what it sends."""
    node = fault.node
    if fault.how == "stop":
        if fault.backends:
            raise LabError(f"{node}: the checker is stopped for all backends; name some with 'how: drop' only")
        stop(act, node, act.site.named(node, _CHECKER))
        return f"the checker of {node} is stopped; its daemon may replace it"
    to = _backends(act, node, fault.backends)
    rules = [f"meta skuid {_user(act, node)} {match} counter drop" for match in _matches(to)]
    rules += [f"{match} meta l4proto {_TUNNELS} counter drop" for match in _matches(to)]
    act.nft(node, "inet", _hooked("type filter hook output priority 0", rules))
    return f"the checks of {node} hear nothing of {', '.join(to)}"


def _file(act: Act, node: str) -> str:
    try:
        return act.site.in_root(node, Path(FILE).read_text)
    except FileNotFoundError:
        raise LabError(f"node {node} has no {FILE}: it is no edge of fairhop") from None


def _mounts(act: Act, node: str) -> list[str]:
    return Path(f"/proc/{act.site.running(node)}/mounts").read_text().splitlines()


def _backends(act: Act, node: str, named: Sequence[str]) -> list[str]:
    """The addresses that are meant: those named, which must be the node's, or all. Raises LabError."""
    there = edge_config.backends(_file(act, node))
    if unknown := [each for each in named if each not in there]:
        raise LabError(f"{node} has no backend {unknown[0]}; it has {', '.join(there)}")
    return list(named) or there


def _matches(addresses: Sequence[str]) -> list[str]:
    """What nft matches these addresses by, for each family that there is."""
    found = []
    for version, word in ((4, "ip"), (6, "ip6")):
        if some := [each for each in addresses if ipaddress.ip_address(each).version == version]:
            found.append(f"{word} daddr {{ {', '.join(some)} }}")
    return found


def _user(act: Act, node: str) -> int:
    """The user whose packets are the checker's."""
    checker = act.site.named(node, _CHECKER)[0]
    return Path(f"/proc/{checker.pid}").stat().st_uid


def _hooked(hook: str, rules: Sequence[str]) -> str:
    return f"chain probes {{\n {hook};\n " + "\n ".join(rules) + "\n}"
