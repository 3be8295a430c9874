"""Forged "packet too big", read back by scapy."""

import pytest
from scapy.layers.inet import ICMP, IP, IPerror, TCPerror
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPerror6, IPv6

from lab.faults.helpers import ptb


def test_a_forged_icmp_quotes_a_segment_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptb, "_source", lambda _: bytes([10, 0, 0, 1]))
    (made,) = ptb.packets("203.0.113.10", 80, "198.18.0.0/24", 1280, 1)
    packet = IP(made)
    assert (packet.src, packet.dst, packet[ICMP].type, packet[ICMP].code) == ("10.0.0.1", "203.0.113.10", 3, 4)
    assert (packet[ICMP].nexthopmtu, packet[IPerror].src, packet[TCPerror].sport) == (1280, "203.0.113.10", 80)
    assert packet[IPerror].dst.startswith("198.18.0.")
    assert packet[ICMP].chksum == rebuilt(packet[ICMP])
    assert packet[IPerror].chksum == rebuilt(packet[IPerror])


def test_a_forged_icmpv6_is_whole_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptb, "_source", lambda _: bytes([0xFD, *bytes(14), 1]))
    (made,) = ptb.packets("2001:db8:1::10", 80, "2001:2::/64", 1300, 1)
    packet = IPv6(made)
    about = packet[ICMPv6PacketTooBig]
    assert (packet.src, packet.dst, about.mtu) == ("fd00::1", "2001:db8:1::10", 1300)
    assert (packet[IPerror6].src, packet[TCPerror].sport) == ("2001:db8:1::10", 80)
    whole = packet.copy()
    del whole[ICMPv6PacketTooBig].cksum
    assert about.cksum == IPv6(bytes(whole))[ICMPv6PacketTooBig].cksum


def rebuilt(layer: IP | ICMP) -> int:
    """The checksum that scapy computes."""
    fresh = layer.copy()
    del fresh.chksum
    return int(type(layer)(bytes(fresh)).chksum)
