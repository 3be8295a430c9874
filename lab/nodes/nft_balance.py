"""Keeps nftables' balancing rules to the backends that live: `python3 -m lab.nodes.nft_balance balance.json OK-FILE`.

Each backend is asked by HTTP at the interval that the file says. While /run/hold/backend-NAME exists that backend is
drained: it gets no new flows (`node-start drain backend NAME` makes the file), and conntrack keeps those that it has.
OK-FILE exists while at least one lives and the rules are in the kernel: whoever announces the VIPs looks there. When
this program ends the rules stay.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lab.nodes.nft_rules import Backend, Balance, Check, Health, parse, rules

HOLD: Final = Path("/run/hold")
_MOST = 1 << 16  # bytes of an answer that are looked at


async def probe(backend: Backend, check: Check) -> bool:
    """Whether the backend answers 200 within the check's timeout."""
    try:
        async with asyncio.timeout(check.timeout):
            reader, writer = await asyncio.open_connection(backend.address, check.port)
            try:
                request = f"GET {check.path} HTTP/1.1\r\nHost: {backend.address}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                answer = await reader.read(_MOST)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return answer.split(b" ", 2)[1:2] == [b"200"]


def drained(names: Iterable[str]) -> frozenset[str]:
    """The backends that an operator has drained."""
    return frozenset(name for name in names if (HOLD / f"backend-{name}").exists())


def apply(balance: Balance, living: frozenset[str], well: Path) -> None:
    """Put the rules into the kernel. Raises CalledProcessError when nft refuses them."""
    if not living:
        well.unlink(missing_ok=True)
    subprocess.run(["nft", "-f", "-"], input=rules(balance, living), text=True, check=True)
    print(f"nft-balance: sends to {' '.join(sorted(living)) or 'nobody'}", flush=True)  # noqa: T201
    if living:
        well.touch()


async def run(balance: Balance, well: Path) -> None:
    """Check and apply until cancelled."""
    names = [one.name for one in balance.backends]
    health = Health(names, balance.check.rise, balance.check.fall)
    applied: frozenset[str] | None = None
    while True:
        results = await asyncio.gather(*(probe(one, balance.check) for one in balance.backends))
        for one, up in zip(balance.backends, results, strict=True):
            health.saw(one.name, up)
        if (wanted := health.living() - drained(names)) != applied:
            apply(balance, wanted, well)
            applied = wanted
        await asyncio.sleep(balance.check.interval)


if __name__ == "__main__":
    asyncio.run(run(parse(Path(sys.argv[1]).read_text()), Path(sys.argv[2])))
