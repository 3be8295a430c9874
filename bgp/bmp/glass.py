"""A looking glass where no router speaks BMP: a command, asked at an interval; `bgp.bmp.answer` has what it must say.

The command runs as the station does: without privilege, shell or terminal. It is killed with all that it started when
its time is over.
"""

import asyncio
import contextlib
import os
import signal
from typing import Final

from bgp.bmp.answer import AnswerError, parse_answer
from bgp.bmp.config import ReadBackConfig
from bgp.bmp.station import write
from bgp.bmp.wire import RouterNews, encode

ANSWER_MAX: Final = 1024 * 1024
"""Bytes of an answer."""


class GlassError(Exception):
    """The command failed; the text says how."""


async def watch(config: ReadBackConfig, out: int) -> None:
    """Ask for ever; each answer is told to the daemon through the file descriptor `out`."""
    while True:
        try:
            facts = parse_answer(await ask(config.command, config.limit), config)
            reason = "the command does not name it"
        except (GlassError, AnswerError) as error:
            facts, reason = {}, f"{config.command[0]}: {error}"
        for router in config.routers:
            told = facts.get(router.name)
            write(out, encode(RouterNews(router.name, told, "" if told else reason)))
        await asyncio.sleep(config.interval)


async def ask(argv: tuple[str, ...], limit: float) -> bytes:
    """What the command prints, within `limit` seconds. Raises GlassError."""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=null, stdout=pipe, stderr=null, start_new_session=True
        )
    except OSError as error:
        raise GlassError(str(error)) from None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(limit):
            answer = bytearray()
            while data := await process.stdout.read(65536):
                answer += data
                if len(answer) > ANSWER_MAX:
                    raise GlassError(f"it prints more than {ANSWER_MAX} bytes")
            status = await process.wait()
    except TimeoutError:
        raise GlassError(f"no answer within {limit:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while await process.stdout.read(65536):
                    pass
        await process.wait()
    if status:
        raise GlassError(f"exit status {status}")
    return bytes(answer)
