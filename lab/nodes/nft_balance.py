"""Keeps nftables' balancing rules to the backends that live: `python3 -m lab.nodes.nft_balance balance.json OK-FILE`.

Each backend is asked by HTTP at the interval that the file says. OK-FILE exists while there is at least one that lives
and the rules are in the kernel: whoever announces the VIPs looks there. When this program ends the rules stay.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

from lab.nodes.nft_rules import Backend, Balance, Check, Health, parse, rules

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
    health = Health([one.name for one in balance.backends], balance.check.rise, balance.check.fall)
    apply(balance, health.living(), well)
    while True:
        results = await asyncio.gather(*(probe(one, balance.check) for one in balance.backends))
        changed = [health.saw(one.name, up) for one, up in zip(balance.backends, results, strict=True)]
        if any(changed):
            apply(balance, health.living(), well)
        await asyncio.sleep(balance.check.interval)


if __name__ == "__main__":
    asyncio.run(run(parse(Path(sys.argv[1]).read_text()), Path(sys.argv[2])))
