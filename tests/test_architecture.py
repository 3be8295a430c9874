"""The two rules of the tree: who may import whom, and that a core does no I/O and reads no clock."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ["bgp", "edge", "lab", "tests"]  # each may import itself and what stands before it
IMPURE = {
    "asyncio", "ctypes", "fcntl", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors",
    "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time",
    "aiohttp", "click", "pyroute2", "rich", "scapy",
}  # fmt: skip
PACKAGES = {"bgp", "edge", "edge.datapath", "lab", "lab.flowtap"}  # their __init__ holds a docstring only
CORES = [
    "bgp/exabgp_api.py", "bgp/exabgp_conf.py", "bgp/lease.py", "bgp/rib.py", "bgp/route.py",
    "edge/announce.py", "edge/config.py", "edge/config_rules.py", "edge/decode.py", "edge/health.py", "edge/maglev.py",
    "edge/plan.py", "edge/strictyaml.py", "edge/datapath/abi.py", "edge/datapath/hashing.py", "edge/datapath/model.py",
    "edge/datapath/checks.py", "edge/datapath/decap_oracle.py", "edge/datapath/encode.py", "edge/datapath/headers.py",
    "edge/datapath/oracle.py", "edge/datapath/oracle_icmp.py", "edge/datapath/perfecthash.py", "lab/addressing.py",
    "edge/backend/config.py", "edge/datapath/next_hop.py", "edge/datapath/rtnetlink.py",
    "lab/ledger.py", "lab/render.py", "lab/topology.py",
    "lab/facts.py", "lab/fib.py", "lab/flow.py", "lab/flowtap/flows.py", "lab/http_reply.py", "lab/load_plan.py",
    "lab/rtnetlink.py", "lab/taps.py", "lab/tunnel.py",
    "lab/envsubst.py", "lab/render_frr.py", "lab/render_host.py", "lab/topology_inherit.py", "lab/topology_keys.py",
    "lab/topology_links.py", "lab/topology_model.py",
]  # fmt: skip


def imported(path: Path) -> set[str]:
    """The modules a file names in its imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def modules(layer: str) -> list[Path]:
    return sorted(path for path in (ROOT / layer).rglob("*.py"))


def by_name() -> dict[str, str]:
    """Module name -> path from the root, for the whole tree."""
    paths = [path.relative_to(ROOT) for layer in LAYERS for path in modules(layer)]
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): str(path) for path in paths}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_what_stands_below_it(layer: str) -> None:
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(layer)
        for name in imported(path)
        if name.split(".")[0] in above
    }
    assert not wrong


def test_no_import_is_relative() -> None:
    relative = [
        str(path.relative_to(ROOT))
        for layer in LAYERS
        for path in modules(layer)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


@pytest.mark.parametrize("core", CORES)
def test_a_core_does_no_io_and_reads_no_clock(core: str) -> None:
    names = imported(ROOT / core)
    impure = {name for name in names if name.split(".")[0] in IMPURE}
    opens = [
        node.lineno
        for node in ast.walk(ast.parse((ROOT / core).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "print", "input"}
    ]
    shells = {name for name in names & set(by_name()) if by_name()[name] not in CORES}
    assert not impure
    assert not opens
    assert not shells - PACKAGES


def test_there_are_no_import_circles() -> None:
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path for layer in LAYERS for path in modules(layer)
    }
    graph = {name: {target for target in imported(path) if target in files} for name, path in files.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for target in graph[name]:
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
