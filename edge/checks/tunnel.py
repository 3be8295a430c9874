"""tunnel: a packet in the pool's own tunnel, which must come back from the backend by itself.

What only answers on its own address may still refuse every tunnel. Here a SYN (or an echo request) from an address of
this node goes to the VIP through the tunnel; the backend's answer comes back directly, as it would to a client.
"""

import os
import random

from edge.checks import tunnel_packets as packets
from edge.checks.asking import IN, Ask, Probe, Verdict
from edge.checks.raw import Raw
from edge.checks.tunnel_packets import Answer, Way
from edge.datapath.headers import ICMP, ICMP6, TCP


def probe(ask: Ask) -> Probe:
    """Send one packet and wait for its answer."""
    raw, options = ask.raw, ask.target.options
    if raw is None:
        return Verdict(False, "there is no raw socket: tunnel checks need a daemon that runs as root")
    way = packets.way(options, ask.target.address)
    kind, number, sequence = options["probe"], raw.number(), random.getrandbits(32)
    key = (kind, way.vip, number)
    event, answers = raw.expect(key)
    try:
        _send(raw, way, kind, number, sequence)
        while True:
            yield event, IN
            os.eventfd_read(event)
            while answers:
                answer = answers.pop()
                if kind == "icmp":
                    return Verdict(True, f"an echo reply of {way.vip} through {options['encap']}")
                if answer.acknowledged == (sequence + 1) & 0xFFFFFFFF:
                    return _judged(raw, way, answer, number)
    finally:
        raw.done(key)


def _judged(raw: Raw, way: Way, answer: Answer, number: int) -> Verdict:
    if answer.refused:
        return Verdict(False, f"the tunnel works, but {way.vip} port {way.port} refuses connections behind it")
    # The kernel resets it too, but that RST goes where the VIP is routed, which need not be this backend.
    reset = packets.segment(way, number, answer.acknowledged, reset=True)
    _out(raw, way, packets.in_tunnel(way, reset, number, TCP))
    return Verdict(True, f"a SYN-ACK of {way.vip} port {way.port} through the tunnel")


def _send(raw: Raw, way: Way, kind: str, number: int, sequence: int) -> None:
    if kind == "icmp":
        protocol, inner = (ICMP if way.vip.version == 4 else ICMP6), packets.echo(way, number)
        _out(raw, way, packets.in_tunnel(way, inner, number, protocol))
    else:
        _out(raw, way, packets.in_tunnel(way, packets.segment(way, number, sequence), number, TCP))


def _out(raw: Raw, way: Way, outer: bytes) -> None:
    name = "send4" if way.backend.address.version == 4 else "send6"
    raw.sockets[name].sendto(outer, (str(way.backend.address), 0))
