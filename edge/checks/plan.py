"""From configuration to what the checker is told, and who each result is about (no I/O)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge.checks.target import Target
from edge.config.checks import (
    AnyCheck,
    ExecCheck,
    HttpCheck,
    HttpsCheck,
    TunnelCheck,
    UdpCheck,
)
from edge.config.file import Config
from edge.datapath.model import HashMode, Protocol
from edge.policy.health import rules_of


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a result is about: check number `check` of a backend of a pool, or of a service of this node itself."""

    pool: str | None
    name: str
    check: int


def subjects(config: Config) -> Mapping[Subject, Target]:
    """Every check that the configuration names."""
    return dict([*_backends(config), *_services(config)])


def _backends(config: Config) -> Iterator[tuple[Subject, Target]]:
    for pool, entry in config.pools.items():
        for backend in entry.backends:
            for number, check in enumerate(entry.check):
                key = f"{config.node}/{pool}/{backend.name}/{backend.address}/{number}"
                address = str(backend.address)
                options = _tunnel(config, pool, check) if isinstance(check, TunnelCheck) else _options(check, address)
                yield Subject(pool, backend.name, number), _target(check, address, key, options)


def _services(config: Config) -> Iterator[tuple[Subject, Target]]:
    for service in config.services:
        for number, check in enumerate(service.local_check):
            key = f"{config.node}/{service.name}/{number}"
            address = str(getattr(check, "address", "127.0.0.1"))
            yield Subject(None, service.name, number), _target(check, address, key, _options(check, address))


def _target(check: AnyCheck, address: str, key: str, options: Mapping[str, Any]) -> Target:
    timeout = min(check.timeout, check.interval)
    return Target(check.type, address, timeout, check.jitter, rules_of([check])[0], key, options)


_SENT_AS_WRITTEN: Mapping[str, set[str]] = {
    "tcp": {"port", "tether"},
    "dns": {"port", "name", "record", "rcode", "answer"},
    "process": {"pidfile", "unit"},
}


def _options(check: AnyCheck, address: str) -> Mapping[str, Any]:
    """Only what JSON can carry."""
    if isinstance(check, HttpCheck | HttpsCheck):
        return _web(check, address)
    if isinstance(check, UdpCheck):
        send = check.send_hex if check.send_hex is not None else check.send.encode().hex()
        expect = check.expect_hex if check.expect_hex is not None else check.expect.encode().hex()
        return {"port": check.port, "send": send, "expect": expect}
    if isinstance(check, ExecCheck):
        return {"command": list(check.command)}
    return check.model_dump(include=_SENT_AS_WRITTEN[check.type])


def _tunnel(config: Config, pool: str, check: TunnelCheck) -> dict[str, Any]:
    """All that the forwarder's tunnels depend on, as it is told by `edge.decide.plan`."""
    entry, forwarder = config.pools[pool], config.forwarder
    served = [service for service in config.services if service.pool == pool and service.port in (check.port, 0)]
    hashing = next((service.hashing for service in served if service.transport is Protocol.TCP), HashMode.FIVE_TUPLE)
    return {
        "probe": check.probe,
        "vip": str(check.vip),
        "port": check.port,
        "source": str(check.source),
        "encap": entry.encap,
        "key": entry.key,
        "seed": config.hashing.seed,
        "hash": hashing.name,
        "outer_source": str(forwarder.outer_source),
        "outer_source6": str(forwarder.outer_source6) if forwarder.outer_source6 else None,
    }


def _web(check: HttpCheck | HttpsCheck, address: str) -> dict[str, Any]:
    found = check.model_dump(include={"port", "path", "method", "host", "body", "body_regex"})
    found["headers"] = [list(each) for each in check.headers]
    found["status"] = [list(each) for each in check.status]
    if isinstance(check, HttpsCheck):
        tls = check.model_dump(include={"verify", "ca_file", "min_days", "client_cert", "client_key"})
        tls["server_name"] = check.server_name or (check.host or "").rpartition(":")[0] or check.host or address
        found["tls"] = tls
    return found
