"""The Python and the C side of the contract: layouts and numbers, compared through the compiled object's BTF."""

import re
import struct
from pathlib import Path

import pytest

from edge.datapath import abi, bpf
from edge.datapath.abi import AddressFlag, EncapBit, Kind, Note, Reason, Setting, Verdict
from edge.datapath.bpf_map import MapSpec, MapType
from edge.datapath.bpf_object import BpfObject
from edge.datapath.model import DEFAULT_TABLE_SIZE, HashMode
from tests.datapath.btf import Btf

OBJECTS = Path(bpf.__file__).parent
BPF_MAP_TYPE_LPM_TRIE, BPF_MAP_TYPE_RINGBUF, BPF_F_NO_PREALLOC = 11, 27, 1
HEADER = (OBJECTS / "abi.h").read_text()
LAYOUTS = {
    "totals": abi.TOTALS_FORMAT,
    "service_count": abi.SERVICE_COUNT_FORMAT,
    "backend_count": abi.BACKEND_COUNT_FORMAT,
    "perfect_hash": abi.PERFECT_HASH_FORMAT,
    "reducer": abi.REDUCER_FORMAT,
    "address": abi.ADDRESS_FORMAT,
    "wide_address": abi.WIDE_FORMAT,
    "service": abi.SERVICE_FORMAT,
    "indexed_service": abi.INDEXED_SERVICE_FORMAT,
    "exact4": abi.EXACT4_FORMAT,
    "exact6": abi.EXACT6_FORMAT,
    "server": abi.SERVER_FORMAT,
    "interface": abi.INTERFACE_FORMAT,
    "rate": abi.RATE_FORMAT,
    "backend": abi.BACKEND_FORMAT,
    "trace_control": abi.TRACE_CONTROL_FORMAT,
}
DECAP_LAYOUTS = {"decap_settings": abi.DECAP_SETTINGS_FORMAT, "prefix": abi.PREFIX_FORMAT}
HASHES = {
    "forward_hashes": (abi.FORWARD_HASHES, abi.FORWARD_REDUCERS),
    "decap_hashes": (abi.DECAP_HASHES, abi.DECAP_REDUCERS),
}
DIRECTORIES = {"forward_directory": abi.FORWARD_PARTS, "decap_directory": abi.DECAP_PARTS}


@pytest.fixture(scope="module")
def forward(programs: None) -> Btf:
    return Btf(OBJECTS / abi.FORWARD_OBJECT)


@pytest.fixture(scope="module")
def decap(programs: None) -> Btf:
    return Btf(OBJECTS / abi.DECAP_OBJECT)


def boundaries(layout: struct.Struct) -> set[int]:
    """Where each value of a struct format begins; a string of bytes may be several words in C."""
    found, text = {0}, ""
    for token in re.findall(r"\d*[a-zA-Z]", layout.format.lstrip("<=")):
        count, code = int(token[:-1] or 1), token[-1]
        for piece in [token] if code in "sx" else [code] * count:
            if code == "s":
                before = struct.calcsize("<" + text)
                found |= set(range(before, before + count, 4))
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
def test_settings_begin_as_python_packs_them_and_end_in_rates_interfaces_and_classes(forward: Btf) -> None:
    head = abi.SETTINGS_FORMAT
    fields = {field.name: (field.offset, field.size) for field in forward.fields("forward_settings")}
    rates, links = fields.pop("rates"), fields.pop("interfaces")
    assert rates == (head.size, abi.RATE_COUNT * abi.RATE_FORMAT.size)
    assert links == (sum(rates), abi.MAX_INTERFACES * abi.INTERFACE_FORMAT.size)
    classes = fields.pop("classes")
    assert classes == (sum(links), abi.SOURCE_CLASSES)
    assert {offset for offset, _ in fields.values()} <= boundaries(head) | {sum(classes)}
    assert forward.struct_size("forward_settings") == abi.SETTINGS_SIZE


@pytest.mark.kernel
@pytest.mark.parametrize("name", HASHES)
def test_hashes_of_all_tables_stand_before_their_reducers(forward: Btf, decap: Btf, name: str) -> None:
    btf = forward if name.startswith("forward") else decap
    hashes, reducers = HASHES[name]
    sizes = [field.size for field in btf.fields(name)]
    assert sizes == [abi.PERFECT_HASH_FORMAT.size] * hashes + [abi.REDUCER_FORMAT.size] * reducers


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
    backend = {field.name: field.offset for field in forward.fields("backend")}
    places = {"size": 0, "limit": 2, "kind": 4, "link": 5, "outer": 6, "ifindex": 8, "checksum": 12, "header": 16}
    assert backend.items() >= places.items()


@pytest.mark.kernel
def test_reasons_and_notes_have_the_same_names_and_numbers(forward: Btf) -> None:
    assert forward.enum("reason") == {f"REASON_{reason.name}": reason for reason in Reason}
    assert forward.enum("note") == {f"NOTE_{note.name}": note for note in Note}


@pytest.mark.kernel
def test_maps_have_the_shapes_that_the_contract_states(programs: None) -> None:
    with BpfObject(OBJECTS / abi.FORWARD_OBJECT) as opened:
        specs = {name: spec for name, spec in opened.map_specs().items() if not name.endswith(".rodata")}
        inner = {name: opened.inner_spec(name) for name in abi.OUTER_MAPS}
    percpu, outer, array = MapType.PERCPU_ARRAY, MapType.ARRAY_OF_MAPS, MapType.ARRAY
    assert set(specs) == set(abi.FORWARD_MAPS)
    assert specs[abi.TRACE_EVENTS].type == BPF_MAP_TYPE_RINGBUF
    expected = {
        abi.TOTALS: MapSpec(percpu, 4, abi.TOTALS_FORMAT.size, 1),
        abi.DIRECTORY: MapSpec(outer, 4, 4, 1),
        abi.POOLS: MapSpec(outer, 4, 4, 2 * abi.MAX_POOLS),
        abi.SERVICE_COUNT: MapSpec(percpu, 4, abi.SERVICE_COUNT_FORMAT.size, abi.MAX_SERVICES + 1),
        abi.BACKEND_COUNT: MapSpec(percpu, 4, abi.BACKEND_COUNT_FORMAT.size, abi.MAX_BACKENDS + 1),
        abi.LIMITERS: MapSpec(array, 4, 8, 2 + 2 * (abi.MAX_VIPS + 1)),
        abi.BLOCKED4: MapSpec(outer, 4, 4, 1),
        abi.BLOCKED6: MapSpec(outer, 4, 4, 1),
        abi.BLOCK_HITS: MapSpec(percpu, 4, 8, 1),
    }
    assert {name: specs[name] for name in expected} == expected
    tries = {abi.BLOCKED4: abi.BLOCK_KEY4_FORMAT.size, abi.BLOCKED6: abi.BLOCK_KEY6_FORMAT.size}
    assert inner == {
        abi.DIRECTORY: MapSpec(array, 4, abi.FORWARD_DIRECTORY_SIZE, 1),
        abi.POOLS: MapSpec(array, 4, 65537 * abi.SLOT_SIZE, 1),
        **{
            name: MapSpec(BPF_MAP_TYPE_LPM_TRIE, size, abi.BLOCK_VALUE_FORMAT.size, 1, BPF_F_NO_PREALLOC)
            for name, size in tries.items()
        },
    }
    with BpfObject(OBJECTS / abi.DECAP_OBJECT) as opened:
        assert set(opened.map_specs()) >= set(abi.DECAP_MAPS)
        assert opened.inner_spec(abi.DIRECTORY).value_size == abi.DECAP_DIRECTORY_SIZE


def test_limits_of_the_tables_are_the_same_in_c() -> None:
    defined = {name: int(value, 0) for name, value in re.findall(r"^#define (\w+) (\d\w*)$", HEADER, re.M)}
    ours = {name: getattr(abi, name) for name in defined if hasattr(abi, name)}
    ours |= {"DEFAULT_TABLE_SIZE": DEFAULT_TABLE_SIZE, "CLASSES": abi.SOURCE_CLASSES}
    private = {"SOURCE_BUCKETS"}
    assert ours == {name: value for name, value in defined.items() if name not in private}
    assert len(ours) >= 14


def test_flags_are_the_same_in_c() -> None:
    enumerators = {
        name: int(value, 0)
        for name, value in re.findall(r"^\t(\w+) = (\w+),", HEADER, re.M)
        if value[0] in "0123456789"
    }
    assert {f"ADDRESS_{flag.name}": int(flag) for flag in AddressFlag}.items() <= enumerators.items()
    assert {f"ENCAP_{bit.name}": int(bit) for bit in EncapBit}.items() <= enumerators.items()
    assert {f"SETTING_{bit.name}": int(bit) for bit in Setting}.items() <= enumerators.items()
    assert {f"HASH_{mode.name}": int(mode) for mode in HashMode}.items() <= enumerators.items()
    assert {f"KIND_{kind.name}": int(kind) for kind in Kind}.items() <= enumerators.items()
    assert {"SOURCE_CLEAN": abi.SOURCE_CLEAN, "SOURCE_CAREFUL": abi.SOURCE_CAREFUL}.items() <= enumerators.items()
    assert enumerators["RATE_COUNT"] == abi.RATE_COUNT


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
