"""The Python and the C side of the contract: layouts and numbers, compared through the compiled object's BTF."""

import re
import struct
from pathlib import Path

import pytest

from edge.datapath import abi, bpf
from edge.datapath.abi import AddressFlag, EncapBit, Note, Reason, Verdict
from edge.datapath.bpf_map import MapSpec, MapType
from edge.datapath.bpf_object import BpfObject
from tests.datapath.btf import Btf

OBJECTS = Path(bpf.__file__).parent
HEADER = (OBJECTS / "abi.h").read_text()
LAYOUTS = {
    "totals": abi.TOTALS_FORMAT,
    "backend_count": abi.BACKEND_COUNT_FORMAT,
    "perfect_hash": abi.PERFECT_HASH_FORMAT,
    "address": abi.ADDRESS_FORMAT,
    "service": abi.SERVICE_FORMAT,
    "interface": abi.INTERFACE_FORMAT,
    "forward_settings": abi.SETTINGS_FORMAT,
    "backend": abi.BACKEND_FORMAT,
}
DECAP_LAYOUTS = {"decap_settings": abi.DECAP_SETTINGS_FORMAT, "prefix": abi.PREFIX_FORMAT}
DIRECTORIES = {
    "forward_directory": (
        abi.SETTINGS_FORMAT.size,
        abi.ADDRESS_TABLE_SIZE,
        abi.SERVICE_TABLE_SIZE,
        abi.INTERFACE_TABLE_SIZE,
        (abi.MAX_BACKENDS + 1) * abi.BACKEND_FORMAT.size,
    ),
    "decap_directory": (
        abi.DECAP_SETTINGS_FORMAT.size,
        abi.ADDRESS_TABLE_SIZE,
        abi.MAX_PREFIXES * abi.PREFIX_FORMAT.size,
    ),
}


@pytest.fixture(scope="module")
def forward(programs: None) -> Btf:
    return Btf(OBJECTS / abi.FORWARD_OBJECT)


@pytest.fixture(scope="module")
def decap(programs: None) -> Btf:
    return Btf(OBJECTS / abi.DECAP_OBJECT)


def boundaries(layout: struct.Struct) -> set[int]:
    """Where each value of a struct format begins."""
    found, text = {0}, ""
    for token in re.findall(r"\d*[a-zA-Z]", layout.format.lstrip("<")):
        count, code = int(token[:-1] or 1), token[-1]
        for piece in [token] if code in "sx" else [code] * count:
            text += piece
            found.add(struct.calcsize("<" + text))
    return found


def check_layout(btf: Btf, name: str, layout: struct.Struct) -> None:
    assert btf.struct_size(name) == layout.size
    starts = boundaries(layout)
    for field in btf.fields(name):
        assert field.offset in starts, f"struct {name}: {field.name} at {field.offset}, Python has {sorted(starts)}"


@pytest.mark.kernel
@pytest.mark.parametrize("name", LAYOUTS)
def test_structs_of_the_forwarder_lie_as_python_packs_them(forward: Btf, name: str) -> None:
    check_layout(forward, name, LAYOUTS[name])


@pytest.mark.kernel
@pytest.mark.parametrize("name", DECAP_LAYOUTS)
def test_structs_of_the_decapsulator_lie_as_python_packs_them(decap: Btf, name: str) -> None:
    check_layout(decap, name, DECAP_LAYOUTS[name])


@pytest.mark.kernel
@pytest.mark.parametrize("name", DIRECTORIES)
def test_directories_have_the_parts_that_python_joins(forward: Btf, decap: Btf, name: str) -> None:
    btf = forward if name.startswith("forward") else decap
    assert tuple(field.size for field in btf.fields(name)) == DIRECTORIES[name]
    assert btf.struct_size(name) == sum(DIRECTORIES[name])


@pytest.mark.kernel
def test_totals_and_backends_have_their_fields_where_python_reads_them(forward: Btf) -> None:
    totals = {field.name: (field.offset, field.size) for field in forward.fields("totals")}
    assert totals == {
        "rx": (0, 8),
        "tx": (8, 8),
        "passed": (16, 8),
        "drops": (24, 8 * abi.DROP_COUNT),
        "notes": (24 + 8 * abi.DROP_COUNT, 8 * abi.NOTE_COUNT),
    }
    backend = [(field.name, field.offset) for field in forward.fields("backend")]
    assert backend[:5] == [("header", 0), ("overhead", 38), ("ifindex", 40), ("checksum", 44), ("limit", 48)]


@pytest.mark.kernel
def test_reasons_and_notes_have_the_same_names_and_numbers(forward: Btf) -> None:
    assert forward.enum("reason") == {f"REASON_{reason.name}": reason for reason in Reason}
    assert forward.enum("note") == {f"NOTE_{note.name}": note for note in Note}


@pytest.mark.kernel
def test_maps_have_the_shapes_that_the_contract_states(programs: None) -> None:
    with BpfObject(OBJECTS / abi.FORWARD_OBJECT) as opened:
        specs = {name: spec for name, spec in opened.map_specs().items() if not name.endswith(".rodata")}
        inner = {name: opened.inner_spec(name) for name in abi.OUTER_MAPS}
    percpu, outer = MapType.PERCPU_ARRAY, MapType.ARRAY_OF_MAPS
    assert specs == {
        abi.TOTALS: MapSpec(percpu, 4, abi.TOTALS_FORMAT.size, 1),
        abi.DIRECTORY: MapSpec(outer, 4, 4, 1),
        abi.POOLS: MapSpec(outer, 4, 4, 2 * abi.MAX_POOLS),
        abi.SERVICE_COUNT: MapSpec(percpu, 4, abi.SERVICE_COUNT_FORMAT.size, abi.MAX_SERVICES + 1),
        abi.BACKEND_COUNT: MapSpec(percpu, 4, abi.BACKEND_COUNT_FORMAT.size, abi.MAX_BACKENDS + 1),
        abi.LIMITERS: MapSpec(MapType.ARRAY, 4, 8, 2 + abi.MAX_VIPS + 1),
    }
    assert set(specs) == set(abi.FORWARD_MAPS)
    assert inner == {
        abi.DIRECTORY: MapSpec(MapType.ARRAY, 4, abi.FORWARD_DIRECTORY_SIZE, 1),
        abi.POOLS: MapSpec(MapType.ARRAY, 4, 65537 * abi.SLOT_SIZE, 1),
    }
    with BpfObject(OBJECTS / abi.DECAP_OBJECT) as opened:
        assert set(opened.map_specs()) == set(abi.DECAP_MAPS)
        assert opened.inner_spec(abi.DIRECTORY).value_size == abi.DECAP_DIRECTORY_SIZE


def test_limits_of_the_tables_are_the_same_in_c() -> None:
    defined = {name: int(value, 0) for name, value in re.findall(r"^#define (\w+) (\d\w*)$", HEADER, re.M)}
    ours = {name: getattr(abi, name) for name in defined if hasattr(abi, name)}
    assert ours == {name: value for name, value in defined.items() if name != "DEFAULT_TABLE_SIZE"}
    assert len(ours) >= 14


def test_flags_are_the_same_in_c() -> None:
    enumerators = {
        name: int(value, 0)
        for name, value in re.findall(r"^\t(\w+) = (\w+),", HEADER, re.M)
        if value[0] in "0123456789"
    }
    assert {f"ADDRESS_{flag.name}": int(flag) for flag in AddressFlag}.items() <= enumerators.items()
    assert {f"ENCAP_{bit.name}": int(bit) for bit in EncapBit}.items() <= enumerators.items()


def test_counters_have_room_names_and_a_meaning() -> None:
    assert max(Reason) < abi.DROP_COUNT
    assert max(Note) < abi.NOTE_COUNT
    for counter in (*Reason, *Note):
        assert counter.label == counter.name.lower()
        assert counter.health in ("normal", "bad")
        assert counter.text
        assert counter.text[-1] != "."
    assert Reason.NEIGH.health is abi.Health.BAD
    assert [int(verdict) for verdict in Verdict] == [1, 2, 3, 4]  # enum xdp_action
