"""What a generation costs: a lookup_table into the kernel, and `Forwarder.apply` with and without a new table."""

import time
from collections.abc import Callable
from dataclasses import replace

from edge.datapath import abi
from edge.datapath.bpf_map import BpfMap, MapSpec, MapType
from edge.datapath.encode import encode_pool
from edge.datapath.forwarder import Forwarder
from edge.datapath.model import ForwarderState, Pool

ENCODE, INSTALL, SWAP, SWAP_DIRECTORY = (
    "encode a table",
    "install a table",
    "swap a generation",
    "swap, tables unchanged",
)


def measure(
    forwarder: Forwarder, state: ForwarderState, rounds: int, tell: Callable[[str], None]
) -> dict[str, list[float]]:
    """What is measured -> milliseconds in each round. `state` is in force before and, under another number, after."""
    taken: dict[str, list[float]] = {name: [] for name in (ENCODE, INSTALL, SWAP, SWAP_DIRECTORY)}
    slots = state.pools[0].slots
    template = MapSpec(MapType.ARRAY, 4, state.table_size * abi.SLOT_SIZE, 1)
    for number in range(1, rounds + 1):
        tell(f"generations: round {number} of {rounds}")
        other = replace(state, pools=(Pool(slots[number:] + slots[:number]),), generation=state.generation + 3 * number)
        began = time.perf_counter()
        value = encode_pool(other.pools[0], state.table_size)
        taken[ENCODE].append(_since(began))
        with BpfMap.create(template, "bench") as table:
            began = time.perf_counter()
            table.update(bytes(4), value)
            taken[INSTALL].append(_since(began))
        taken[SWAP].append(_apply(forwarder, other))
        taken[SWAP_DIRECTORY].append(_apply(forwarder, replace(other, generation=other.generation + 1)))
        _apply(forwarder, replace(state, generation=other.generation + 2))
    return taken


def _apply(forwarder: Forwarder, state: ForwarderState) -> float:
    began = time.perf_counter()
    forwarder.apply(state)
    return _since(began)


def _since(began: float) -> float:
    return 1000 * (time.perf_counter() - began)
