"""Reads the configuration file again and has every part follow it, or changes nothing at all."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bgp.bfd.config import BfdConfigError
from bgp.process import ProcessError
from bgp.speaker import Speaker
from bgp.speaker_config import SpeakerConfigError
from edge.announcer.attributes import speaker_config
from edge.announcer.companions import Companions
from edge.config import file as configuration
from edge.config.file import Config
from edge.daemon.crank import Crank
from edge.decide.node import Node
from edge.install.block_file import read_block_list
from edge.install.blocking import Blocking
from edge.log.events import EventLog
from edge.text.strictyaml import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Announcer:
    """What speaks to routers, and must take a configuration before anything else follows it."""

    speaker: Speaker
    companions: Companions
    crank: Crank

    async def follow(self, config: Config, name: str) -> None:
        """Take the configuration of the file `name`. Raises ConfigError, OSError; nothing has changed then."""
        try:
            wanted, plan = speaker_config(config), self.companions.plan(config)
            if wanted != self.speaker.config:
                self.speaker.reconfigure(wanted)
                self.crank.redeclare()
            await self.companions.follow(plan, Path(config.announcer.run_dir))
        except (SpeakerConfigError, BfdConfigError, ProcessError) as error:
            raise ConfigError([Problem(name, 1, 1, str(error))]) from None


class Reloader:
    """Reloads one after the other. `follow` hands a configuration to the checks and next hops, and turns the crank."""

    def __init__(
        self,
        path: Path,
        node: Node,
        events: EventLog,
        blocking: Blocking,
        announcer: Announcer,
        follow: Callable[[Config], None],
    ) -> None:
        self._path, self._node, self._events = path, node, events
        self._blocking, self._announcer, self._follow = blocking, announcer, follow
        self._before: Config | None = None  # what ran before the last change
        self._one_by_one = asyncio.Lock()
        self._unasked: set[asyncio.Task[None]] = set()

    async def reload(self) -> str:
        """Read the file and its block list again and follow them; names what changed.

        Raises ConfigError, OSError or UnicodeDecodeError, and then nothing has changed.
        """
        async with self._one_by_one:
            return await self._reload()

    async def roll_back(self) -> str:
        """Follow the configuration that ran before the last reload; names what changed. The file stays as it is.

        Raises LookupError when there is none, and what `reload` raises.
        """
        async with self._one_by_one:
            if self._before is None:
                raise LookupError("no reload has changed anything since the daemon started")
            return await self._take(self._before, "rolled back")

    def unasked(self) -> None:
        """A reload that nobody waits for: its outcome is logged."""
        task = asyncio.create_task(self._log_only(), name="reload")
        self._unasked.add(task)  # the loop itself keeps no task alive
        task.add_done_callback(self._unasked.discard)

    async def _log_only(self) -> None:
        # A refusal is logged, and the configuration that runs goes on running.
        with contextlib.suppress(ConfigError, OSError, UnicodeDecodeError):
            await self.reload()

    async def _reload(self) -> str:
        try:
            config = configuration.load(self._path.read_text(), str(self._path))
        except (ConfigError, OSError, UnicodeDecodeError) as error:
            self._refused(error)
            raise
        return await self._take(config, "reloaded")

    async def _take(self, config: Config, how: str) -> str:
        name, running = str(self._path), self._node.config
        try:
            changed = configuration.changes(running, config, name)
            blocked = await asyncio.to_thread(read_block_list, config, name)
            await self._announcer.follow(config, name)
        except (ConfigError, OSError, UnicodeDecodeError) as error:
            self._refused(error)
            raise
        if blocked != self._blocking.wanted:
            changed.append("the block list")
            self._blocking.want(blocked)
        self._before = running if config != running else self._before
        self._node.reload(config, time.monotonic())
        self._follow(config)
        self._events.record("config", "loaded", "loaded", f"{how}, changed: {', '.join(changed) or 'nothing'}")
        return ", ".join(changed)

    def _refused(self, error: Exception) -> None:
        self._events.record("config", "loaded", "loaded", f"a reload was refused: {error}")
