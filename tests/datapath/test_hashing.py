"""The flow hash: one number in the documentation, in mmh3, in Python and in the program."""

import dataclasses
import json
import re
import struct
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import mmh3
import pytest

from edge.datapath.abi import Verdict
from edge.datapath.hashing import FlowKey, flow_hash, slot_of
from edge.datapath.model import Backend, Encap, ForwarderState, Pool, Protocol, Service
from tests.datapath import world as w
from tests.datapath.frames import tcp, udp
from tests.datapath.rig import Rig, run_frame

HERE = Path(__file__).parent
GOLDEN: dict[str, Any] = json.loads((HERE / "flow_hash_vectors.json").read_text())
VECTORS: list[dict[str, Any]] = GOLDEN["vectors"]
TABLE_SIZE: int = GOLDEN["table_size"]
DOCUMENT = HERE.parents[1] / "docs" / "adr" / "0002-data-path.md"
HALVES = (IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1"))


def key_of(vector: dict[str, Any]) -> FlowKey:
    return FlowKey(IPv4Address(vector["client"]), vector["client_port"], vector["vip_port"], vector["protocol"])


def test_python_and_mmh3_agree_with_the_golden_vectors() -> None:
    assert len(VECTORS) >= 64
    for vector in VECTORS:
        key = key_of(vector)
        assert key.packed().hex() == vector["key"]
        assert mmh3.hash(bytes.fromhex(vector["key"]), vector["seed"], signed=False) == vector["hash"]
        assert flow_hash(key, vector["seed"]) == vector["hash"]
        assert slot_of(vector["hash"], TABLE_SIZE) == vector["slot"]


def test_the_document_shows_golden_vectors() -> None:
    shown = re.findall(
        r"^\| ([\d.]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| `([0-9a-f ]+)` \| (\d+) \| (\d+) \|$",
        DOCUMENT.read_text(),
        re.M,
    )
    golden = {(v["client"], v["client_port"], v["vip_port"], v["protocol"], v["seed"]): v for v in VECTORS}
    assert len(shown) >= 3
    for client, client_port, vip_port, protocol, seed, key, number, slot in shown:
        vector = golden[client, int(client_port), int(vip_port), int(protocol), int(seed)]
        assert (key.replace(" ", ""), int(number), int(slot)) == (vector["key"], vector["hash"], vector["slot"])


def test_slots_are_hit_evenly_to_both_ends() -> None:
    assert slot_of(0, TABLE_SIZE) == 0
    assert slot_of(0xFFFFFFFF, TABLE_SIZE) == TABLE_SIZE - 1
    counts = [0] * 7
    for number in range(0, 1 << 32, 65521):
        counts[slot_of(number, 7)] += 1
    assert max(counts) - min(counts) <= 1


def world_of(vector: dict[str, Any], outer: IPv4Network) -> ForwarderState:
    """One service for the flow: the outer source shows 31 bits of its hash, the backend which half its slot is in."""
    vip = IPv4Address(w.WEB)
    backends = tuple(Backend(i, f"b{i}", IPv4Address(f"10.0.9.{i}"), Encap.IPIP, w.HOP) for i in (1, 2))
    half = -(-TABLE_SIZE // 2)
    slots = Pool(tuple(1 if slot < half else 2 for slot in range(TABLE_SIZE)))
    service = Service(1, vip, Protocol(vector["protocol"]), vector["vip_port"], 0)
    return dataclasses.replace(
        w.STATE,
        seed=vector["seed"],
        table_size=TABLE_SIZE,
        outer_source=outer,
        services=(service,),
        pools=(slots,),
        backends=backends,
        infrastructure=frozenset(),
        echo_vips=frozenset(),
    )


@pytest.mark.kernel
def test_the_program_computes_the_golden_vectors(programs: None) -> None:
    rig = Rig.forwarder(TABLE_SIZE)
    checked = 0
    for vector in VECTORS:
        client = IPv4Address(vector["client"])
        if vector["protocol"] not in (6, 17) or not vector["vip_port"] or client.is_multicast or client.is_reserved:
            continue
        # the half of all addresses that the client is not in: a source inside our own prefix would be martian
        outer = next(half for half in HALVES if client not in half)
        rig.install(world_of(vector, outer), w.INTERFACES)
        build = tcp if vector["protocol"] == 6 else udp
        frame = build(w.WEB, vector["vip_port"], vector["client_port"], ip={"src": vector["client"]})
        verdict, after = run_frame(rig.program.fileno(), frame, 0)
        assert verdict == Verdict.TX
        source, owner = struct.unpack("!II", after[26:34])
        assert source & 0x7FFFFFFF == vector["hash"] & 0x7FFFFFFF
        assert (owner & 0xFF) == (2 if vector["slot"] >= -(-TABLE_SIZE // 2) else 1)
        checked += 1
    rig.close()
    assert checked >= 40
