"""The echo service alone, for hosts without our agent: `python3 -m lab.nodes.echo_server NAME PORT`."""

import asyncio
import sys

from edge.backend.echo import Echo


async def serve(name: str, port: int) -> None:
    """Answer until cancelled. Raises OSError when the port is taken."""
    async with Echo(name, port):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
