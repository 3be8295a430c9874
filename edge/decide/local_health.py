"""What the local checks say of each service: a failing one is a fault of this node for that service's VIPs (no I/O)."""

from collections.abc import Mapping

from edge.config.file import Config, ServiceConfig
from edge.policy.health import Health, Result, State, Transition


class LocalHealth:
    """Health of every service that has local checks. Times are monotonic seconds."""

    def __init__(self, config: Config, now: float) -> None:
        self._services: dict[str, ServiceConfig] = {}
        self.health: dict[str, Health] = {}
        self.follow(config, now)

    def follow(self, config: Config, now: float) -> None:
        """Take a new configuration; services that keep their checks keep their health."""
        wanted = {service.name: service for service in config.services if service.local_check}
        kept = {name for name, s in wanted.items() if name in self._services and self._same(name, s)}
        self.health = {
            name: self.health[name] if name in kept else Health.of(service.local_check, now)
            for name, service in wanted.items()
        }
        self._services = wanted

    def observe(self, service: str, result: Result, now: float) -> Transition | None:
        """Take one result. One of a service that a reload removed is ignored."""
        health = self.health.get(service)
        return health.observe(result, now) if health else None

    def faults(self) -> Mapping[str, str]:
        """Service -> why it is not well on this node; one that is up, or has no result yet, is not in it."""
        return {
            name: health.last.detail if health.last else ""
            for name, health in self.health.items()
            if health.state is State.DOWN
        }

    @property
    def surveyed(self) -> bool:
        """Whether every service with local checks has a first result."""
        return all(health.state is not State.UNKNOWN for health in self.health.values())

    def _same(self, name: str, service: ServiceConfig) -> bool:
        return self._services[name].local_check == service.local_check
