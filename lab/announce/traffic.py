"""Traffic of a bed's client: datagrams that are echoed and short requests, and what of each was lost."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass

from lab.announce.bed import Bed
from lab.announce.files import ECHO_PORT, HTTP_PORT
from lab.announce.plan import CLIENT
from lab.announce.space import NETNS, first
from lab.runtime import LabError
from lab.traffic.facts import Facts
from lab.traffic.load import Load
from lab.traffic.plan import Plan, Requests

PACKETS, REQUESTS, FLOWS = 2000, 1000, 64  # a second, a second, source ports


@dataclass(frozen=True, slots=True)
class Losses:
    """Of one run: datagrams sent, when those were sent that were lost, and the requests."""

    packets: int
    lost: tuple[float, ...]
    longest: float
    requests: Facts


class Traffic:
    """Runs from its making to `stop`. A context manager."""

    def __init__(self, bed: Bed, packets: int = PACKETS, requests: float = REQUESTS) -> None:
        client = bed.world.nodes[CLIENT].interfaces[0].address
        vip = bed.world.vips[0]
        words = [sys.executable, "-m", "lab.announce.packets", str(vip), str(ECHO_PORT), str(packets), str(FLOWS)]
        self._packets = self._start(words) if packets else None
        plan = Plan({"web": Requests(str(client), f"http://{vip}:{HTTP_PORT}/", requests)})
        self._load = Load(CLIENT, self._start([sys.executable, "-m", "lab.traffic.process"]), plan)
        time.sleep(1.0)  # the interpreters start, the connections of the first second settle
        self._load.mark("start")

    def __enter__(self) -> "Traffic":
        return self

    def __exit__(self, *_: object) -> None:
        self._load.close()
        if self._packets:
            self._packets.kill()
            self._packets.communicate()

    def mark(self, label: str) -> Facts:
        """The requests since the last mark."""
        return self._load.mark(label)["web"]

    def stop(self) -> Losses:
        """End both and say what was lost. Raises `LabError` when the sender failed."""
        packets: dict[str, object] = {"sent": 0, "lost": [], "longest": 0.0}
        requests = self._load.stop()["web"].total
        if self._packets:
            out, errors = self._packets.communicate(timeout=10.0)
            if self._packets.returncode:
                raise LabError(f"{CLIENT}: the datagrams ended with {self._packets.returncode}: {errors[-300:]}")
            packets = json.loads(out)
        lost = packets["lost"]
        assert isinstance(lost, list)
        return Losses(int(str(packets["sent"])), tuple(lost), float(str(packets["longest"])), requests)

    @staticmethod
    def _start(argv: list[str]) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        words = ["nsenter", f"--net={NETNS / CLIENT}", *first("client"), *argv]
        return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
