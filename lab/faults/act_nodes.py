"""Makes the faults of nodes, of their programs, and of routers."""

import os
import signal
import stat
import time
from contextlib import suppress
from pathlib import Path

from lab.faults.act import Act
from lab.faults.model import stores
from lab.faults.model_nodes import DiskFull, Freeze, Kill, KillProcess, Pause, StoreLoss
from lab.faults.model_routers import EcmpRehash, RouterRestart, SessionReset
from lab.faults.site import Process
from lab.netns import linux
from lab.runtime import LabError

_SEED = "net/ipv4/fib_multipath_hash_seed"
_POLICIES = tuple(f"net/{family}/fib_multipath_hash_policy" for family in ("ipv4", "ipv6"))
_FIELDS = tuple(f"net/{family}/fib_multipath_hash_fields" for family in ("ipv4", "ipv6"))
_BY_SENDER, _BY_FIELDS, _FIVE_TUPLE = "1", "3", "55"  # policies; addresses, protocol and ports (0x37)
_ROUNDS = 50


def kill(act: Act, fault: Kill) -> str:
    """Kill the node; it is started again."""
    act.site.running(fault.node)
    act.before("start", fault.node)
    act.site.runtime.kill(fault.node)
    return f"{fault.node} is dead"


def pause(act: Act, fault: Pause) -> str:
    """Stop every process of the node."""
    return f"{_stop_all(act, fault.node)} processes of {fault.node} stopped"


def freeze(act: Act, fault: Freeze) -> str:
    """Stop the processes of one program."""
    found = act.site.named(fault.node, fault.process)
    stop(act, fault.node, found)
    return f"{_numbers(found)} of {fault.node} stopped"


def kill_process(act: Act, fault: KillProcess) -> str:
    """SIGKILL the processes of one program."""
    found = act.site.named(fault.node, fault.process)
    act.begins()
    for each in found:
        with suppress(ProcessLookupError):
            os.kill(each.pid, signal.SIGKILL)
    return f"{_numbers(found)} of {fault.node} killed"


def disk_full(act: Act, fault: DiskFull) -> str:
    """Lay an overlay over the folder whose upper layer is a tmpfs without a free byte: what is there stays readable."""
    stage = f"/run/{act.mark}"
    act.site.running(fault.node)
    act.before("remove", fault.node, stage)
    act.before("unmount", fault.node, stage, act.mark)
    act.before("unmount", fault.node, fault.path, act.mark)

    def run() -> None:
        if not Path(fault.path).is_dir():
            raise LabError(f"node {fault.node} has no folder {fault.path}")
        Path(stage).mkdir()
        linux.mount(act.mark, stage, "tmpfs", 0, "size=64k")
        mode = stat.S_IMODE(Path(fault.path).stat().st_mode)
        for name in ("upper", "work"):
            Path(stage, name).mkdir()
        Path(stage, "upper").chmod(mode)
        layers = f"lowerdir={fault.path},upperdir={stage}/upper,workdir={stage}/work"
        linux.mount(act.mark, fault.path, "overlay", 0, layers)
        with suppress(OSError), Path(stage, "full").open("wb", buffering=0) as full:
            while full.write(bytes(1024)):
                pass

    act.site.in_root(fault.node, run)
    return f"no byte more fits below {fault.path} of {fault.node}"


def router_restart(act: Act, fault: RouterRestart) -> str:
    """Kill the router, wait, start it."""
    act.site.running(fault.node)
    act.before("start", fault.node)
    act.site.runtime.kill(fault.node)
    began = time.monotonic()
    time.sleep(fault.down)
    act.site.runtime.start(fault.node)
    return f"{fault.node} died and was ready again after {time.monotonic() - began:.2f} s"


def session_reset(act: Act, fault: SessionReset) -> str:
    """Ask the router's BGP program, or end its TCP connections under it."""
    if fault.how == "rst":
        which = ["dst", fault.peer] if fault.peer else []
        ports = "( sport = :179 or dport = :179 )"
        said = act.site.must(fault.node, "ss", "-HtnK", "state", "established", *which, ports)
        if not said.strip():
            raise LabError(f"{fault.node} has no BGP connection{f' with {fault.peer}' if fault.peer else ''}")
        return f"{len(said.splitlines())} BGP connections of {fault.node} reset by TCP"
    kind = act.site.topology.nodes[fault.node].labels.get("fairhop.router", "frr")
    commands = {
        "frr": [["vtysh", "-c", f"clear bgp {fault.peer or '*'}"]],
        "bird": [["birdc", "restart", "all"]],
        "gobgp": [["gobgp", "neighbor", fault.peer or "all", "reset"]],
    }
    if kind not in commands or (kind == "bird" and fault.peer):
        raise LabError(f"{fault.node}: a session of {kind} is reset with 'how: rst', or all at once")
    for argv in commands[kind]:
        done = act.site.runtime.exec(fault.node, argv)
        if done.returncode or "%" in done.stdout:
            raise LabError(f"{fault.node}: {' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return f"BGP sessions of {fault.node} cleared"


def ecmp_rehash(act: Act, fault: EcmpRehash) -> str:
    """Set another seed (both families have one), or another policy for each family.

    On routers with policy 1 another seed moved none of 600 flows here, though `ip route get` chose otherwise: it seems
    to go by the hash that the sender's socket left in the packet. Such a router gets policy 3, which reads the packet.
    """
    if fault.by == "seed":
        former = act.site.sysctl(fault.node, _SEED)
        value = fault.value if fault.value is not None else int(former) % (2**32 - 1) + 1
        _set(act, fault.node, _SEED, str(value))
        for policy, fields in zip(_POLICIES, _FIELDS, strict=True):
            if act.site.sysctl(fault.node, policy) == _BY_SENDER:
                _set(act, fault.node, fields, _FIVE_TUPLE)
                _set(act, fault.node, policy, _BY_FIELDS)
        return f"ECMP seed of {fault.node} is {value}, was {former}"
    said = []
    for policy in _POLICIES:
        former = act.site.sysctl(fault.node, policy)
        value = fault.value if fault.value is not None else int(former != "1")
        _set(act, fault.node, policy, str(value))
        said.append(f"{policy.rpartition('/')[2]} is {value}, was {former}")
    return f"{fault.node}: {'; '.join(said)}"


def _set(act: Act, node: str, name: str, value: str) -> None:
    act.before("sysctl", node, name, act.site.sysctl(node, name))
    act.site.set_sysctl(node, name, value)


def store_loss(act: Act, fault: StoreLoss) -> str:
    """Kill or stop the store's nodes, or cut all their links."""
    nodes = stores(fault.nodes, act.site.topology)
    for node in nodes:
        if fault.how == "kill":
            act.before("start", node)
            act.site.runtime.kill(node)
        elif fault.how == "pause":
            _stop_all(act, node)
        else:
            ends = ", ".join(f'"{end.interface}"' for end in act.site.topology.endpoints(node))
            chains = "\n".join(
                f"chain {hook} {{\n type filter hook {hook} devices = {{ {ends} }} priority 0;\n counter drop\n}}"
                for hook in ("ingress", "egress")
            )
            act.nft(node, "netdev", chains)
    done = {"kill": "dead", "pause": "stopped", "partition": "cut off"}[fault.how]
    return f"store {', '.join(nodes)} {done}"


def _stop_all(act: Act, node: str) -> int:
    """Stop the node's processes until none runs that is not stopped: some may have forked in between."""
    act.site.running(node)
    stopped: set[tuple[int, int]] = set()
    for _ in range(_ROUNDS):
        running = [each for each in act.site.processes(node) if not _is_init(each)]
        left = [each for each in running if (each.pid, each.start) not in stopped]
        if not left:
            return len(stopped)
        stop(act, node, left)
        stopped |= {(each.pid, each.start) for each in left}
    raise LabError(f"node {node} starts processes faster than they can be stopped")


def stop(act: Act, node: str, processes: list[Process]) -> None:
    """SIGSTOP, undone by SIGCONT."""
    act.before("continue", node, *(f"{each.pid}:{each.start}" for each in processes))
    for each in processes:
        with suppress(ProcessLookupError):
            os.kill(each.pid, signal.SIGSTOP)


def _is_init(process: Process) -> bool:
    """Whether this is a mere init, which would hand the end of a pause on to programs that another fault freezes."""
    return process.command.split("\0")[0].rpartition("/")[2] in ("tini", "docker-init")


def _numbers(processes: list[Process]) -> str:
    names = sorted({each.command.split("\0")[0].rpartition("/")[2] for each in processes})
    return f"{', '.join(names)} ({len(processes)} process{'es' if len(processes) > 1 else ''})"
