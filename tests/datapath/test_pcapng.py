"""Capture files, read back by Scapy and by tcpdump, which know the format by themselves."""

import io
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import GRE, Ether
from scapy.utils import PcapNgReader

from edge.datapath.abi import Verdict
from edge.datapath.pcapng import Writer

WALL = 1_700_000_000_123_456_789
INNER = IP(src="198.51.100.7", dst="203.0.113.10") / TCP(sport=40000, dport=80)
PLAIN = bytes(Ether() / INNER)
TUNNELLED = bytes(Ether() / IP(src="10.0.5.1", dst="10.0.9.1") / GRE() / INNER)


def capture() -> bytes:
    writer = Writer("fairhop capture")
    return b"".join(
        (
            writer.header(),
            writer.packet("eth1", WALL, TUNNELLED, len(TUNNELLED), Verdict.TX, "tx none"),
            writer.packet("eth2.100", WALL + 1, PLAIN[:31], len(PLAIN), Verdict.DROP, "drop martian"),
            writer.packet("eth1", WALL + 2, PLAIN, len(PLAIN), Verdict.PASS, "pass none"),
        )
    )


def test_scapy_reads_packets_with_their_time_interface_and_comment() -> None:
    with PcapNgReader(io.BytesIO(capture())) as reader:
        sent, dropped, passed = reader.read_all()
    assert sent[GRE][IP].dst == "203.0.113.10"
    assert sent[IP].dst == "10.0.9.1"
    assert [packet.comment for packet in (sent, dropped, passed)] == [b"tx none", b"drop martian", b"pass none"]
    assert [packet.sniffed_on for packet in (sent, dropped, passed)] == ["eth1", "eth2.100", "eth1"]
    assert [round(packet.time * 1_000_000_000) for packet in (sent, dropped, passed)] == [WALL, WALL + 1, WALL + 2]
    assert [packet.direction for packet in (sent, dropped, passed)] == [2, 1, 1]
    assert (len(dropped), dropped.wirelen) == (31, len(PLAIN))
    assert bytes(passed) == PLAIN


def test_blocks_are_whole_words_with_their_length_at_both_ends_and_the_verdict_for_programs() -> None:
    data, kinds, verdicts = capture(), list[int](), list[int]()
    while data:
        kind, length = struct.unpack_from("<2I", data)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, length - 4) == (length,)
        kinds.append(kind)
        if kind == 6:
            at = data.index(struct.pack("<2HB", 7, 9, 2), 0, length)
            verdicts += struct.unpack_from("<Q", data, at + 5)
        data = data[length:]
    assert kinds == [0x0A0D0D0A, 1, 6, 1, 6, 6], "an interface is declared before its first packet, and once"
    assert verdicts == [Verdict.TX, Verdict.DROP, Verdict.PASS]


def test_tcpdump_reads_it_too(tmp_path: Path) -> None:
    if not shutil.which("tcpdump"):
        pytest.skip("needs tcpdump: apt-get install tcpdump")
    file = tmp_path / "capture.pcapng"
    file.write_bytes(capture())
    command = ["tcpdump", "-nn", "-tt", "--nano", "-r", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, *rest = done.stdout.splitlines()
    assert first.startswith("1700000000.123456789 ")
    assert "10.0.5.1 > 10.0.9.1: GREv0" in first
    assert "198.51.100.7.40000 > 203.0.113.10.80" in first
    assert len(rest) == 2
