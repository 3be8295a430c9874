"""ExaBGP's timers count by a clock that nobody sets: what a jump of the wall clock does to a session, both ways."""

import subprocess
import sys

import pytest

# In a process of its own, since ExaBGP's modules are changed for good. The session has heard and said something at 0 s;
# the wall clock jumps; the other clock is at `now`. Prints whether the hold time is over, a keepalive is due, and a new
# connection may be tried.
SCRIPT = """
import time
from types import SimpleNamespace
if {steady}:
    from bgp.exabgp import count_steadily
    now = [1000.0]
    time.monotonic = lambda: now[0]
    count_steadily()
else:
    now = [0.0]
wall = [1_800_000_000.0]
time.time = lambda: wall[0]
from exabgp.bgp.message import Notify
from exabgp.bgp.timer import ReceiveTimer, SendTimer
from exabgp.logger import log
from exabgp.reactor.delay import Delay
log.debug = lambda *_, **__: None
receive = ReceiveTimer(lambda: "s", 9, 4, 0)
send = SendTimer(lambda: "s", SimpleNamespace(keepalive=lambda: 3))
delay = Delay()
delay.increase()
wall[0] += {jump}
now[0] += {passed}
over = False
try:
    receive.check_ka_timer()
except Notify:
    over = True
print(over, send.need_ka(), not delay.backoff())
"""


def run(*, jump: int, passed: float, steady: bool = True) -> list[str]:
    script = SCRIPT.format(jump=jump, passed=passed, steady=steady)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("jump", [3600, -3600])
def test_a_jump_ends_no_session_and_delays_nothing(jump: int) -> None:
    assert run(jump=jump, passed=1.0) == ["False", "False", "True"]
    assert run(jump=jump, passed=4.0) == ["False", "True", "True"]
    assert run(jump=jump, passed=11.0) == ["True", "True", "True"]


def test_exabgp_alone_does_neither() -> None:
    assert run(jump=3600, passed=1.0, steady=False) == ["True", "True", "True"]
    assert run(jump=-3600, passed=4.0, steady=False) == ["False", "False", "False"]
