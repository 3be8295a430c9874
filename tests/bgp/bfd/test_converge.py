"""Two engines over a link that loses, delays, reorders and repeats: they agree, and nothing goes down for nothing."""

import heapq
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgp.bfd.auth import BfdAuth
from bgp.bfd.config import BfdConfig, BfdPeer
from bgp.bfd.engine import Datagram, Engine
from bgp.bfd.packet import AuthType, Refusal
from bgp.bfd.status import SessionStatus

A, B = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
KEY = BfdAuth(AuthType.METICULOUS_SHA1, 1, b"k")


@dataclass
class Net:
    """Two ends; `loss`, `repeat` are chances, a packet takes up to `delay` seconds; `silent` ends send nothing."""

    seed: int
    times: tuple[tuple[float, float, int], tuple[float, float, int]]
    loss: float = 0.0
    repeat: float = 0.0
    delay: float = 0.001
    auth: BfdAuth | None = None
    now: float = 100.0
    silent: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.dice = Random(self.seed)
        self.air: list[tuple[float, int, int, bytes]] = []
        self.count = 0
        self.lost_in_a_row = [0, 0]
        self.most_lost = 1
        self.ends = [Engine(self.dice.random, self.now), Engine(self.dice.random, self.now)]
        for end in (0, 1):
            self.configure(end)

    def configure(self, end: int, admin_down: bool = False) -> None:
        tx, rx, multiplier = self.times[end]
        peer = BfdPeer("p", (B, A)[end], (A, B)[end], tx=tx, rx=rx, multiplier=multiplier, auth=self.auth)
        self.ends[end].want(BfdConfig((peer,), gate=()), admin_down, self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            for number, engine in enumerate(self.ends):
                engine.turn({}, self.now)
                for _, data in engine.output(self.now):
                    if number not in self.silent:
                        self.send(1 - number, data)
            deadlines = [engine.next_deadline() for engine in self.ends] + [self.air[0][0] if self.air else end]
            self.now = min(max(min(deadlines), self.now), end)
            while self.air and self.air[0][0] <= self.now:
                _, _, to, data = heapq.heappop(self.air)
                self.ends[to].receive(Datagram(data, (B, A)[to], "eth0", 255, False), self.now)

    def send(self, to: int, data: bytes) -> None:
        """At most `most_lost` in a row are lost: the multiplier's budget is never used up."""
        if self.lost_in_a_row[to] < self.most_lost and self.dice.random() < self.loss:
            self.lost_in_a_row[to] += 1
            return
        self.lost_in_a_row[to] = 0
        for _ in range(2 if self.dice.random() < self.repeat else 1):
            self.count += 1
            heapq.heappush(self.air, (self.now + self.dice.random() * self.delay, self.count, to, data))

    def status(self, end: int) -> SessionStatus:
        return self.ends[end].state(0, 0, ()).sessions[0]

    def states(self) -> tuple[str, str]:
        return self.status(0).state, self.status(1).state


interval = st.sampled_from([0.01, 0.02, 0.05])
timing = st.tuples(interval, interval, st.integers(3, 5))


@settings(max_examples=12)
@given(st.integers(0, 2**32), timing, timing, st.floats(0, 0.3), st.floats(0, 0.3), st.sampled_from([None, KEY]))
def test_two_ends_agree_and_nothing_goes_down_for_nothing(
    seed: int, one: tuple[float, float, int], two: tuple[float, float, int], loss: float, repeat: float,
    auth: BfdAuth | None,
) -> None:  # fmt: skip
    net = Net(seed, (one, two), loss, repeat, delay=0.004, auth=auth)
    net.run(4)  # a Down that was overtaken by an Init may cost one more round here, as RFC 5880 has it
    assert net.states() == ("up", "up")
    settled = net.now
    net.run(1.5)
    assert net.states() == ("up", "up")
    for end, (mine, theirs) in enumerate(((one, two), (two, one))):
        status = net.status(end)
        assert status.tx_interval == pytest.approx(max(mine[0], theirs[1]))
        assert status.detection_time == pytest.approx(theirs[2] * max(mine[1], theirs[0]))
        assert status.remote_discriminator == net.status(1 - end).local_discriminator
        assert all(down.at < settled for down in status.downs), status.downs


@settings(max_examples=8)
@given(st.integers(0, 2**32), timing)
def test_silence_is_noticed_in_the_detection_time_and_both_come_back(
    seed: int, times: tuple[float, float, int]
) -> None:
    net = Net(seed, (times, times), delay=0.0)  # an Up that Down overtakes would be the last word heard
    net.run(3)
    assert net.states() == ("up", "up")
    net.silent, began = {0}, net.now
    limit, pace = net.status(1).detection_time, net.status(0).tx_interval
    net.run(limit + 0.01)
    down = net.status(1).downs[-1]
    assert limit - pace - 0.002 <= down.at - began <= limit + 0.002
    assert net.status(0).state == "down" and net.status(0).remote_diag == "detection expired"
    net.silent = set()
    net.run(5)
    assert net.states() == ("up", "up")


@settings(max_examples=8)
@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.floats(0, 0.5)), max_size=8))
def test_any_orders_end_where_the_last_ones_say(seed: int, orders: list[tuple[int, bool, float]]) -> None:
    net = Net(seed, ((0.01, 0.01, 3), (0.01, 0.01, 3)), loss=0.1)
    down = [False, False]
    for end, wish, pause in orders:
        down[end] = wish
        net.configure(end, admin_down=wish)
        net.run(pause)
    net.run(8)
    expected = {(False, False): ("up", "up"), (True, True): ("admin down", "admin down")}
    other = tuple("admin down" if wish else "down" for wish in down)
    assert net.states() == expected.get((down[0], down[1]), other)


def test_other_timers_are_negotiated_without_a_down() -> None:
    net = Net(1, ((0.01, 0.01, 3), (0.01, 0.01, 3)), loss=0.1)
    net.run(3)
    for times in ((0.05, 0.02, 4), (0.01, 0.01, 3), (0.3, 0.3, 3)):
        net.times = (times, net.times[1])
        net.configure(0)
        net.run(2)
        assert net.states() == ("up", "up")
        assert net.status(0).tx_interval == pytest.approx(times[0])
        assert not net.status(0).downs and not net.status(1).downs


def test_a_replayed_packet_moves_nothing() -> None:
    net = Net(1, ((0.01, 0.01, 3), (0.01, 0.01, 3)), auth=KEY)
    kept: list[bytes] = []
    send = net.send

    def tap(to: int, data: bytes) -> None:
        if to == 1:
            kept.append(data)
        send(to, data)

    net.send = tap  # type: ignore[method-assign]
    net.run(5)
    assert net.states() == ("up", "up")
    receiver = net.ends[1]
    refused = {receiver.receive(Datagram(data, A, "eth0", 255, False), net.now) for data in kept}
    assert refused <= {Refusal.AUTH_SEQUENCE, Refusal.AUTH_VALUE}
    assert net.states() == ("up", "up")
