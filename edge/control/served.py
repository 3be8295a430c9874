"""What the verbs of the control socket need of a daemon."""

from collections.abc import Mapping
from typing import Any, Protocol

from bgp.bmp.readback import ReadBack
from bgp.speaker import Speaker
from edge.control.intent_store import IntentStore
from edge.datapath.blocklist import BlockList
from edge.datapath.model import IpAddress
from edge.datapath.next_hop import Finding
from edge.decide.node import Node
from edge.install.forwarding import Forwarding
from edge.log.events import EventLog
from edge.policy.health import Health

USAGE, REFUSED, CONFIG = 2, 5, 78
"""Exit codes of a command whose verb is refused."""


class Served(Protocol):
    """A daemon, or what stands in for one."""

    node: Node
    store: IntentStore
    events: EventLog
    forwarding: Forwarding
    speaker: Speaker

    @property
    def findings(self) -> Mapping[IpAddress, Finding]:
        """How each backend's address is reached, or why it is not."""

    @property
    def blocked(self) -> BlockList | None:
        """The block list that is in force."""

    @property
    def bfd(self) -> Mapping[str, Mapping[str, Any]]:
        """BFD's sessions by the peer's name."""

    @property
    def read_back(self) -> ReadBack | None:
        """What routers hold, None where none is asked."""

    @property
    def service_health(self) -> Mapping[str, Health]:
        """The health of each service that has local checks."""

    def turn(self) -> None:
        """Carry out at once what a change of intent asks for."""

    async def reload(self) -> str:
        """Read the configuration file again; names what changed. Raises ConfigError or OSError."""

    async def roll_back(self) -> str:
        """Follow the configuration from before the last reload. Raises LookupError, and what `reload` raises."""
