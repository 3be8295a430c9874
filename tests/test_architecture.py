"""The two rules of the tree: who may import whom, and that a core does no I/O and reads no clock."""

import ast
import functools
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ["bgp", "edge", "lab", "tests"]  # each may import itself and what stands before it
IMPURE = {
    "asyncio", "ctypes", "fcntl", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors",
    "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time",
    "click", "pyroute2", "scapy",
}  # fmt: skip
CORES_BY_PACKAGE = {
    "bgp": "attributes digest exabgp_api exabgp_conf lease life relay_core report rib route speaker_config supervisor "
    "wire",
    "bgp/bfd": "auth config engine gate packet session status",
    "bgp/bmp": "config readback",
    "bgp/kits": "bird frr gobgp model notes",
    "edge": "maglev",
    "edge/announcer": "attributes companion_config router_kit",
    "edge/config": "addresses announcer check_rules checks digest file findings limits peers protection read_back "
    "rules safety",
    "edge/control": "",
    "edge/daemon": "self_packets",
    "edge/decide": "intent local_health node plan removals standing",
    "edge/install": "",
    "edge/log": "limit",
    "edge/policy": "announce damping health panic quiet skew uplinks velocity",
    "edge/show": "capture offline status status_bgp status_health status_skew why",
    "edge/text": "decode same scalars strictyaml",
    "edge/backend": "config",
    "edge/checks": "freshness keeper plan schedule target tunnel_packets",
    "edge/datapath": "abi addresses blocklist checks decap_oracle encode encode_backend encode_tables hashing headers "
    "model netlink next_hop oracle oracle_addresses oracle_choice oracle_icmp oracle_icmp6 oracle_messages "
    "oracle_outer oracle_quic outcome pcapng perfecthash perfecthash_wide rtnetlink trace",
    "lab": "addressing planning routing",
    "lab/announce": "figures files plan rows",
    "lab/bench": "cases figures world",
    "lab/faults": "edge_config model model_base model_edges model_links model_nodes model_routers model_traffic parse",
    "lab/job": "convergence",
    "lab/netns": "link_messages spec",
    "lab/observe": "check fib rtnetlink session_text taps tunnel",
    "lab/observe/flowtap": "edges flows",
    "lab/nodes": "gobgp_table nft_rules",
    "lab/render": "bird frr frr_policy gobgp haproxy host lab_files nft peers stock store target tls",
    "lab/report": "cdf compare failover layout marks page rates result scale svg tables timeaxis timeline topology",
    "lab/scenario": "bounds checks evidence flows judge judge_repetitions judge_traffic junit model moves names parse "
    "result routing staging text",
    "lab/topology": "dotenv envsubst graph inherit keys kinds links model notes parse",
    "lab/traffic": "evidence facts flow http_reply ledger outstanding plan quic_wire series streams tally wheel",
    "lab/view": "counters faults live model page sessions",
}
CORES = [f"{package}/{name}.py" for package, names in CORES_BY_PACKAGE.items() for name in names.split()]
PACKAGES = {package.replace("/", ".") for package in CORES_BY_PACKAGE}  # their __init__ holds a docstring only


@functools.cache
def nodes(path: Path) -> tuple[ast.stmt | ast.Call, ...]:
    """The imports and calls of a file, wherever they stand in it."""
    found = ast.walk(ast.parse(path.read_text()))
    return tuple(node for node in found if isinstance(node, ast.Import | ast.ImportFrom | ast.Call))


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """The modules a file names in its imports, anywhere in it."""
    names = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


@functools.cache
def modules(layer: str) -> list[Path]:
    return sorted(path for path in (ROOT / layer).rglob("*.py"))


@functools.cache
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
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


@pytest.mark.parametrize("core", CORES)
def test_a_core_does_no_io_and_reads_no_clock(core: str) -> None:
    names = imported(ROOT / core)
    impure = {name for name in names if name.split(".")[0] in IMPURE}
    opens = [
        node.lineno
        for node in nodes(ROOT / core)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "print", "input"}
    ]
    shells = {name for name in names & set(by_name()) if by_name()[name] not in CORES}
    assert not impure
    assert not opens
    assert not shells - PACKAGES


def graph() -> dict[str, set[str]]:
    """Module -> the modules of the tree that it imports."""
    return {name: {each for each in imported(ROOT / path) if each in by_name()} for name, path in by_name().items()}


def circle(graph: Mapping[str, Collection[str]]) -> str:
    """The first way from a name back to itself, in words; empty if there is none."""
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> str:
        if name in trail:
            return " -> ".join((*trail[trail.index(name) :], name))
        found = "" if name in done else next(filter(None, (visit(each, (*trail, name)) for each in graph[name])), "")
        done.add(name)
        return found

    return next(filter(None, (visit(name, ()) for name in graph)), "")


def test_there_are_no_import_circles() -> None:
    assert not circle(graph())


def test_rooms_stand_one_above_the_other() -> None:
    """Among packages there is no circle either. A `__main__` is the door of its package, and calls what is above it."""
    inner = {name: found for name, found in graph().items() if name.split(".")[0] != "tests" and "__main__" not in name}
    rooms: dict[str, set[str]] = {}
    for name, found in inner.items():
        room = _room(name)
        rooms.setdefault(room, set()).update({_room(each) for each in found} - {room})
    assert not circle(rooms)


def _room(name: str) -> str:
    return name if by_name()[name].endswith("__init__.py") else name.rpartition(".")[0]


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_is_a_docstring(package: str) -> None:
    body = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text()).body
    assert [type(node) for node in body] == [ast.Expr]
