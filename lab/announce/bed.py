"""The testbed of a layout: routers, edges, backends and the watch, up and serving. Use as a context manager."""

import os
import signal as signals
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from lab.announce import files
from lab.announce.edges import FAIRHOP, Edge, runner
from lab.announce.plan import Layout, World, world
from lab.announce.routers import Router
from lab.announce.space import Program, Space, eventually, in_namespace
from lab.announce.watch import Armed, Table, Watch

Progress = Callable[[str], None]
_BACK_WITHIN = 30.0
_STILL, _BFD_STILL = 0.15, 0.5  # seconds without a change that count as settled


class Bed:
    """A world that runs. `watch` is on the router that counts: transit, or the only one."""

    def __init__(self, layout: Layout, place: Path) -> None:
        self.world: World = world(layout)
        self._place = place
        self._held = ExitStack()
        self.edges: dict[str, Edge] = {}
        self.servers: dict[str, Program] = {}
        self.routers: dict[str, Router] = {}
        self.unsettled = 0  # times that a VIP was gone although all was well a moment before
        self.space: Space
        self.watch: Watch

    def __enter__(self) -> "Bed":
        with ExitStack() as held:
            self.space = held.enter_context(Space(self.world, self._place))
            for node in self.world.having("router"):
                self.routers[node.name] = Router(self.space, node)
                self.routers[node.name].start()
            self.watch = self.routers[self.world.watched].watch(self.world.prefixes)
            held.callback(self.watch.close)
            for node in self.world.having("backend"):
                self._backend(node.name)
            if self.world.layout.local_check and self.world.layout.daemons:
                self.local_service()
            user = runner()
            for node in self.world.having("edge") if self.world.layout.daemons else ():
                self.edges[node.name] = Edge(self.space, node, user)
                held.callback(self.edges[node.name].wipe)
                self.edges[node.name].launch()
            for edge in self.edges.values():
                edge.await_serving()
            if self.edges:
                self.settled()
            self._held = held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @property
    def edge(self) -> Edge:
        """The edge that things happen to."""
        return self.edges["e1"]

    def _backend(self, name: str) -> None:
        place = self.space.directory(name)
        (place / "backend.yaml").write_text(files.backend_yaml(self.world, self.world.nodes[name]))
        (place / "nginx.conf").write_text(files.nginx_conf(self.world.nodes[name], str(place)))
        self.space.run(name, "backend", FAIRHOP, "backend", "--config", str(place / "backend.yaml"))
        self.servers[name] = self.space.run(name, "nginx", "nginx", "-c", str(place / "nginx.conf"))
        eventually(lambda: self.servers[name].require() and (place / "nginx.pid").exists(), 10.0, f"nginx of {name}")

    def whole(self, table: Table) -> bool:
        """Every VIP has as many gateways as it can have; at a transit router, that of the first site."""
        if len(table) != len(self.world.vips):
            return False
        if self.world.layout.sites > 1:
            return all(hops == (self._gateway(),) for hops in table.values())
        return all(len(hops) == self.paths for hops in table.values())

    def hang(self, backend: str, number: signals.Signals) -> None:
        """Stop a backend's web server, which then accepts and never answers, or let it go on."""
        for pid in in_namespace(backend, "nginx"):
            os.kill(pid, number)

    def local_service(self) -> Program:
        """What the local check of the first edge asks: a process, or a web server on its loopback address."""
        check = self.world.layout.local_check or {}
        if check["type"] == "process":
            program = self.space.run("e1", "service", "sleep", "3600")
            self.space.note(check["pidfile"], f"{program.pid}\n")
            return program
        place = self.space.directory("e1") / "web"
        place.mkdir(exist_ok=True)
        listen = f"127.0.0.1:{check['port']}"
        (place / "nginx.conf").write_text(files.nginx_conf(self.world.nodes["e1"], str(place), listen))
        return self.space.run("e1", "nginx", "nginx", "-c", str(place / "nginx.conf"))

    def say_down(self, backend: str, down: bool) -> None:
        """Make a backend's /healthz answer 503, or 200 again; everything else it goes on serving."""
        flag = self.space.directory(backend) / "down"
        flag.touch() if down else flag.unlink(missing_ok=True)

    @property
    def paths(self) -> int:
        """How many gateways a VIP has when all is well."""
        return len(self.edges) if self.world.layout.sites == 1 and self.world.layout.kind != "gobgp" else 1

    def settled(self, within: float = _BACK_WITHIN) -> None:
        """Until every VIP is where it belongs, with nothing changing for a moment."""
        self.watch.until(self.whole, within, "all VIPs at the router")
        if self.world.layout.bfd:
            eventually(self.routers["r1"].bfd_up, within, "BFD is not up at the router", 0.05)
        self.quiet(_BFD_STILL if self.world.layout.bfd else _STILL)

    def quiet(self, still: float = _STILL) -> None:
        """Until nothing has changed at the router for `still` seconds."""
        while changes := self.watch.changes(time.monotonic() - still):
            time.sleep(max(0.0, changes[-1][0] + still - time.monotonic()))

    def gone(self) -> Armed:
        """Arm for: no VIP is routed to the edge that things happen to."""
        if len(self.edges) <= 1:
            return self._arm(lambda table: not table)
        mine = self._gateway()
        return self._arm(lambda table: not any(mine in hops for hops in table.values()))

    def left(self) -> Armed:
        """Arm for: the first VIP is not routed to the edge that things happen to."""
        mine, first = self._gateway(), self.world.prefixes[0]
        if self.world.layout.kind == "gobgp":
            return self._arm(lambda table: first not in table)
        return self._arm(lambda table: mine not in table.get(first, ()))

    def _arm(self, predicate: Callable[[Table], bool]) -> Armed:
        """Arm for what does not hold yet: what holds already would be measured as a time before the event."""
        while (armed := self.watch.arm(predicate)).at is not None:
            self.unsettled += 1
            self.settled()
        return armed

    def _gateway(self) -> str:
        """Where the watched router sends what is for the first edge."""
        node = self.world.nodes[self.world.watched]
        peer = "r1" if self.world.layout.sites > 1 else "e1"
        return str(node.towards(peer).peer_address)
