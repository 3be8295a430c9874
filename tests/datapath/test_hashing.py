"""The flow hash: one number in the documentation, in mmh3, in Python and in the program."""

import collections
import dataclasses
import itertools
import json
import re
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any

import mmh3
import pytest

from edge.datapath.abi import Verdict
from edge.datapath.addresses import MARTIANS4
from edge.datapath.hashing import FlowKey, flow_hash, slot_of
from edge.datapath.model import Backend, Encap, ForwarderState, HashMode, IpAddress, Pool, Protocol, Service
from edge.datapath.oracle_addresses import MARTIANS6, within
from tests.datapath import world as w
from tests.datapath.frames import tcp, udp
from tests.datapath.rig import Rig, run_frame

HERE = Path(__file__).parent
GOLDEN: dict[str, Any] = json.loads((HERE / "flow_hash_vectors.json").read_text())
VECTORS: list[dict[str, Any]] = GOLDEN["vectors"]
TABLE_SIZE: int = GOLDEN["table_size"]
DOCUMENT = HERE.parents[1] / "docs" / "adr" / "0002-data-path.md"
OUTER6 = IPv6Network("3fff::/96")
HALVES = (IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1"))


def mode_of(vector: dict[str, Any]) -> HashMode:
    return HashMode[vector.get("mode", "five_tuple").upper()]


def key_of(vector: dict[str, Any]) -> FlowKey:
    key = FlowKey(ip_address(vector["client"]), vector["client_port"], vector["vip_port"], vector["protocol"])
    return key.reduced(mode_of(vector))


def test_python_and_mmh3_agree_with_the_golden_vectors() -> None:
    kinds = collections.Counter((key_of(v).client.version, mode_of(v)) for v in VECTORS)
    assert {kind: count >= 4 for kind, count in kinds.items()} == dict.fromkeys(
        itertools.product((4, 6), HashMode), True
    )
    assert len(VECTORS) >= 120
    for vector in VECTORS:
        key = key_of(vector)
        assert key.packed().hex() == vector["key"]
        assert mmh3.hash(bytes.fromhex(vector["key"]), vector["seed"], signed=False) == vector["hash"]
        assert flow_hash(key, vector["seed"]) == vector["hash"]
        assert slot_of(vector["hash"], TABLE_SIZE) == vector["slot"]


def test_the_document_shows_golden_vectors() -> None:
    shown = re.findall(
        r"^\| ([\da-f.:]+) \| (\d+) \| (\d+) \| (\d+) \| ([a-z ]+) \| (\d+) \| `([0-9a-f ]+)` \| (\d+) \| (\d+) \|$",
        DOCUMENT.read_text(),
        re.M,
    )
    golden = {tuple(str(value) for value in identity(v)): v for v in VECTORS}
    assert len(shown) >= 10
    for client, client_port, vip_port, protocol, mode, seed, key, number, slot in shown:
        vector = golden[client, client_port, vip_port, protocol, mode, seed]
        assert (key.replace(" ", ""), int(number), int(slot)) == (vector["key"], vector["hash"], vector["slot"])
    assert {":" in row[0] for row in shown} == {True, False}
    assert len({row[4] for row in shown}) == 3


def identity(vector: dict[str, Any]) -> tuple[object, ...]:
    """What a row of the document begins with."""
    mode = mode_of(vector).name.lower().replace("_", " ")
    names = ("client", "client_port", "vip_port", "protocol")
    return (*(vector[name] for name in names), mode, vector["seed"])


def test_slots_are_hit_evenly_to_both_ends() -> None:
    assert slot_of(0, TABLE_SIZE) == 0
    assert slot_of(0xFFFFFFFF, TABLE_SIZE) == TABLE_SIZE - 1
    counts = [0] * 7
    for number in range(0, 1 << 32, 65521):
        counts[slot_of(number, 7)] += 1
    assert max(counts) - min(counts) <= 1


def world_of(vector: dict[str, Any], outer: IPv4Network) -> ForwarderState:
    """One service for the flow. The outer source shows its hash: 31 bits of it in IPv4, where the slot is in the first
    half, all of it in IPv6, where it is in the second."""
    vip = ip_address(w.WEB6 if ":" in vector["client"] else w.WEB)
    addresses = (ip_address("10.0.9.1"), OUTER6.network_address + (1 << 64))
    backends = tuple(Backend(i, f"b{i}", a, Encap.IPIP, w.HOP) for i, a in enumerate(addresses, start=1))
    half = -(-TABLE_SIZE // 2)
    slots = Pool(tuple(1 if slot < half else 2 for slot in range(TABLE_SIZE)))
    service = Service(1, vip, Protocol(vector["protocol"]), vector["vip_port"], 0, mode_of(vector))
    return dataclasses.replace(
        w.STATE,
        seed=vector["seed"],
        table_size=TABLE_SIZE,
        outer_source=outer,
        outer_source6=OUTER6,
        services=(service,),
        pools=(slots,),
        backends=backends,
        infrastructure=frozenset(),
        echo_vips=frozenset(),
    )


@pytest.mark.kernel
def test_the_program_computes_the_golden_vectors(programs: None) -> None:
    rig = Rig.forwarder(TABLE_SIZE)
    checked: collections.Counter[tuple[int, HashMode, int]] = collections.Counter()
    for vector in VECTORS:
        client = ip_address(vector["client"])
        if vector["protocol"] not in (6, 17) or not vector["vip_port"] or not is_possible(client):
            continue
        # the half of all addresses that the client is not in: a source inside our own prefix would be martian
        outer = next(half for half in HALVES if client not in half)
        rig.install(world_of(vector, outer), w.INTERFACES)
        build, six = (tcp if vector["protocol"] == 6 else udp), client.version == 6
        frame = build(w.WEB6 if six else w.WEB, vector["vip_port"], vector["client_port"], ip={"src": str(client)})
        verdict, after = run_frame(rig.program.fileno(), frame, 0)
        assert verdict == Verdict.TX
        version = after[14] >> 4
        assert version == (6 if vector["slot"] >= -(-TABLE_SIZE // 2) else 4)
        if version == 4:
            assert int.from_bytes(after[26:30], "big") & 0x7FFFFFFF == vector["hash"] & 0x7FFFFFFF
        else:
            assert after[22:38] == (OUTER6.network_address + vector["hash"]).packed
            assert int.from_bytes(after[14:18], "big") & 0xFFFFF == vector["hash"] & 0xFFFFF
        checked[client.version, mode_of(vector), version] += 1
    rig.close()
    assert checked.total() >= 100
    assert set(checked) == set(itertools.product((4, 6), HashMode, (4, 6)))


def is_possible(client: IpAddress) -> bool:
    """Whether packets from here are taken."""
    return not within(client, (*MARTIANS4, *MARTIANS6))


def test_modes_leave_out_what_they_say() -> None:
    key = FlowKey(ip_address("198.51.100.7"), 40000, 80, 6)
    assert key.reduced(HashMode.FIVE_TUPLE) == key
    assert key.reduced(HashMode.CLIENT).packed().hex() == "c6336407" + "00" * 8
    assert key.reduced(HashMode.CLIENT_PORT).packed().hex() == "c6336407" + "0000" + "0050" + "06" + "000000"


def test_h02_flows_made_for_one_backend_of_another_seed_spread() -> None:
    """Whoever guesses the seed wrongly, and sends only flows that a backend would have under it, loads none."""
    guessed, real, backends = 1, w.SEED, 10
    client = ip_address("198.51.100.7")
    keys = (FlowKey(client, port, vip_port, 6) for port in range(1, 65536) for vip_port in (80, 443))
    aimed = [key for key in keys if slot_of(flow_hash(key, guessed), backends) == 3]
    loads = collections.Counter(slot_of(flow_hash(key, real), backends) for key in aimed)
    assert len(aimed) > 10_000
    assert max(loads.values()) / (len(aimed) / backends) <= 1.5
