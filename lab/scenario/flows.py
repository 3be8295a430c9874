"""From the traffic of a scenario to what each client sends. No I/O."""

from collections.abc import Iterable, Mapping

from lab.addressing import LabPlan, NodePlan, Role, ServicePlan
from lab.scenario.model import (
    BulkModel,
    ConnectionsModel,
    DatagramsModel,
    QuicModel,
    RequestsModel,
    Scenario,
    StreamModel,
)
from lab.scenario.names import port_of
from lab.traffic.facts import Facts, merge_facts
from lab.traffic.plan import Bulk, Connections, Datagrams, Plan, Quic, Requests, Stream
from lab.traffic.series import Sample

_SIX = "/ipv6"  # what the name of a stream ends with in a client, where a part of it goes to the IPv6 VIP
_PATHS = {"down": "/files/bytes", "up": "/upload"}


def plans(scenario: Scenario, plan: LabPlan) -> dict[str, Plan]:
    """Client -> what it sends; a client that sends nothing is left out."""
    services = {service.name: service for service in plan.services}
    found = {}
    for client in plan.having(Role.CLIENT):
        streams: dict[str, Stream] = {}
        for name, model in scenario.traffic.items():
            if client.name in senders(model, plan):
                streams |= _streams(name, model, client, services[model.to])
        if streams:
            found[client.name] = Plan(streams)
    return found


def senders(model: StreamModel, plan: LabPlan) -> tuple[str, ...]:
    """The clients that send a stream."""
    return model.clients or tuple(client.name for client in plan.having(Role.CLIENT))


def asked(scenario: Scenario, plan: LabPlan) -> dict[str, int]:
    """Stream -> the flows that it is to hold open, over all clients."""
    return {
        name: model.count * len(senders(model, plan))
        for name, model in scenario.traffic.items()
        if isinstance(model, ConnectionsModel | DatagramsModel | QuicModel)
    }


def by_stream(facts: Mapping[str, Facts]) -> dict[str, Facts]:
    """The facts of both families of a stream together."""
    names = dict.fromkeys(name.removesuffix(_SIX) for name in facts)
    return {name: merge_facts([facts[part] for part in (name, name + _SIX) if part in facts]) for name in names}


def stream_of(name: str) -> str:
    """The stream of the scenario that a stream of a client is part of."""
    return name.removesuffix(_SIX)


def _streams(name: str, model: StreamModel, client: NodePlan, service: ServicePlan) -> dict[str, Stream]:
    parts = {}
    for six, share in ((False, 1 - model.ipv6), (True, model.ipv6)):
        stream = _stream(model, client, service, share, six=six)
        if stream is not None:
            parts[name + _SIX if six else name] = stream
    return parts


def _stream(model: StreamModel, client: NodePlan, service: ServicePlan, share: float, *, six: bool) -> Stream | None:
    """The part of a stream that one family carries; None where that is nothing. A transfer cannot be split."""
    source = str(client.client_address6 if six else client.client_address)
    port = port_of(service, model.kind)
    host = f"[{service.vip6}]" if six else str(service.vip)
    target = f"{host}:{port}"
    url = f"http://{host}" if port == 80 else f"http://{target}"
    match model:
        case RequestsModel():
            return Requests(source, f"{url}/", model.rate * share, model.timeout) if share else None
        case BulkModel():
            count = _part(model.streams, share, model.ipv6, six=six)
            if not count:
                return None
            path = url + _PATHS[model.direction]
            return Bulk(source, path, model.direction, model.bytes, count, model.interval, model.timeout)
        case ConnectionsModel():
            count = _part(model.count, share, model.ipv6, six=six)
            return Connections(source, target, count, model.interval, model.timeout) if count else None
        case DatagramsModel():
            count = _part(model.count, share, model.ipv6, six=six)
            return Datagrams(source, target, count, model.interval, model.timeout, model.roaming) if count else None
        case QuicModel():
            count = _part(model.count, share, model.ipv6, six=six)
            return Quic(source, target, count, model.interval, model.timeout, model.migrate) if count else None
    raise ValueError(f"no traffic of kind {model.kind}")


def _part(count: int, share: float, ipv6: float, *, six: bool) -> int:
    """How many of `count` are of one family: both parts add up to it."""
    of_six = round(count * ipv6)
    return of_six if six else count - of_six


def series(rows: Iterable[Sample]) -> dict[str, dict[str, list[list[float]]]]:
    """Series of answers by second for the result: by backend [t, answers], by stream [t, answered, failed]."""
    backends: dict[str, dict[int, float]] = {}
    streams: dict[str, dict[int, list[float]]] = {}
    for second, stream, backend, answered, failed in rows:
        if backend:
            of_backend = backends.setdefault(backend, {})
            of_backend[second] = of_backend.get(second, 0) + answered
        counts = streams.setdefault(stream_of(stream), {}).setdefault(second, [0, 0])
        counts[0] += answered
        counts[1] += failed
    return {
        "backends": {name: [[float(second), count] for second, count in sorted(rows.items())]
                     for name, rows in sorted(backends.items())},
        "streams": {name: [[float(second), *counts] for second, counts in sorted(rows.items())]
                    for name, rows in streams.items()},
    }  # fmt: skip
