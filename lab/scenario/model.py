"""A scenario as frozen values: traffic, timed steps, and what each must show. Times in seconds. No I/O.

The names of the fields are the keys of the file (docs/scenarios.md); `lab.scenario.parse` makes these.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from edge.text.decode import Model
from lab.scenario.bounds import Bound, Number, Time
from lab.scenario.moves import Move

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Seconds = Annotated[Number, Field(ge=0, le=3600)]
Positive = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
Runtime = Literal["netns", "containerlab"]


class StreamModel(Model):
    """What every kind of traffic has: the clients that send it (all of them by default) and the service it goes to.

    `ipv6` is the share of it that goes to the service's IPv6 VIP.
    """

    kind: ClassVar[str]
    clients: tuple[str, ...] = Field((), alias="from")
    to: str
    ipv6: Share = 0.0


class RequestsModel(StreamModel):
    """Short requests: `rate` a second from each client, each on its own connection."""

    kind: ClassVar[str] = "requests"
    rate: Annotated[Number, Field(gt=0, le=1000)]
    timeout: Positive = 2.0


class ConnectionsModel(StreamModel):
    """Long connections: `count` of each client, each with a ping every `interval`."""

    kind: ClassVar[str] = "connections"
    count: Annotated[Count, Field(le=20000)]
    interval: Positive = 1.0
    timeout: Positive = 5.0


class BulkModel(StreamModel):
    """`streams` transfers at a time, each of `bytes`, one begun every `interval`; `direction` as the client sees it."""

    kind: ClassVar[str] = "bulk"
    direction: Literal["up", "down"] = "down"
    bytes: Annotated[Count, Field(le=64 << 20)] = 1_000_000
    streams: Annotated[Count, Field(le=100)] = 1
    interval: Seconds = 1.0
    timeout: Positive = 5.0


class DatagramsModel(StreamModel):
    """`count` UDP flows, each with a datagram every `interval` to be answered. `roaming`: by any backend."""

    kind: ClassVar[str] = "datagrams"
    count: Annotated[Count, Field(le=20000)]
    interval: Positive = 0.1
    timeout: Positive = 2.0
    roaming: bool = False


class QuicModel(StreamModel):
    """`count` QUIC-like UDP flows, each with a packet every `interval` and a new source port every `migrate`."""

    kind: ClassVar[str] = "quic"
    count: Annotated[Count, Field(le=20000)]
    interval: Positive = 0.1
    timeout: Positive = 2.0
    migrate: Seconds = 5.0


STREAMS: Mapping[str, type[StreamModel]] = {
    model.kind: model for model in (RequestsModel, ConnectionsModel, BulkModel, DatagramsModel, QuicModel)
}


class Counts(Model):
    """Bounds on what traffic did. Counts, but for `gap` and `slowest`: seconds."""

    broken: Bound | None = None  # established connections and datagram flows that broke
    failed: Bound | None = None  # requests without a good answer
    transfers_failed: Bound | None = None
    lost: Bound | None = None  # datagrams sent and not answered
    gap: Time | None = None  # the longest time from a ping to its answer
    slowest: Time | None = None  # the slowest request
    answered: Bound | None = None  # requests answered
    held: Bound | None = None  # connections established at the end
    opened: Bound | None = None  # connections opened


Verdict = Literal["equal", "differ"]


class Expect(Counts):
    """What a step, or the whole run, must show; everything that is not named is reported and not judged."""

    streams: Mapping[str, Counts] = {}
    routes_within: Time | None = None  # failover_time: from the action's effect to the last router's kernel
    share: Mapping[str, Bound] = {}  # edge -> its share of the flows carried after the routes came
    moved: Bound | None = None  # flows of long connections that another edge carried than before
    reasons: Mapping[str, Mapping[str, Bound]] = {}  # edge or "all" -> reason -> packets
    routes: Mapping[str, Mapping[str, tuple[str, ...]]] = {}  # router -> VIP prefix -> nodes it sends to, at the end
    session_drops: Bound | None = None  # BGP sessions, seen from the routers, that were up and went down
    always_routed: bool = False  # no router that had next hops for a VIP prefix had none
    keeps: tuple[str, ...] = ()  # nodes that no router ceased to send a VIP prefix to, for any moment
    events: Mapping[str, Mapping[str, Bound]] = {}  # edge or "all" -> pattern of transitions -> how many
    digests: Verdict | Mapping[str, Verdict] | None = None  # of all sites, or by site


class Announcing(Model):
    """Which edges announce after a step. `without`: all but these; an end "ROUTER:IFACE" is a next hop that is lost.

    `only`: exactly these edges. `vip`: of this service alone; the others are as before.
    """

    without: tuple[str, ...] | None = None
    only: tuple[str, ...] | None = None
    vip: str = ""


class Step(Model):
    """One thing that is done, when, and what it must show. `after`: since the step before was over.

    `announcing`: None is as before, "any" is not awaited. `within`: the routers' kernels agree by then.
    `observe`: traffic after that which still belongs to the step. `remark` says why something is not judged.
    """

    name: str
    after: Seconds = 0.0
    do: tuple[Move, ...]
    announcing: Announcing | Literal["all", "any"] | None = None
    within: Seconds = 30.0
    observe: Seconds = 2.5
    expect: Expect = Expect()
    remark: str = ""


class Percentiles(Model):
    """Bounds on a quantity over the repetitions of a scenario, in seconds."""

    p50: Time | None = None
    p99: Time | None = None
    max: Time | None = None


class OverRepetitions(Model):
    """What all repetitions together must show: percentiles of `failover_time`, and sums."""

    failover_time: Percentiles = Percentiles()  # of every step that has one
    steps: Mapping[str, Percentiles] = {}  # of the failover_time of one step
    broken: Bound | None = None
    failed: Bound | None = None
    session_drops: Bound | None = None


class Scenario(Model):
    """A whole scenario file."""

    version: Literal[1]
    name: Name
    title: str
    covers: tuple[str, ...] = ()
    topology: str
    against: tuple[str, ...] = ()  # topologies on which the same is measured, to be compared and not to be judged
    runtimes: tuple[Runtime, ...] = ("netns", "containerlab")
    needs: tuple[str, ...] = ()
    repetitions: Count = 1
    core: bool = False
    traffic: Mapping[str, StreamModel] = {}
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    expect: Expect = Expect()
    over_repetitions: OverRepetitions = OverRepetitions()
