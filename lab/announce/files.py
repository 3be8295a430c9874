"""Every configuration file of the small world as text (core: no I/O): edges, backends, and routers of each kind."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from lab.announce.plan import TRANSIT, Node, World

HTTP_PORT, ECHO_PORT = 80, 7000
BFD_MS, BFD_TIMES = 10, 3
RESTART = 10  # seconds that a router keeps a restarting edge's routes (RFC 4724), where graceful restart is on


def fairhop_yaml(world: World, edge: Node, place: str, user: str) -> str:
    """What the edge's daemon reads; its own files go below `place`."""
    router = edge.interfaces[0]
    value: dict[str, Any] = {
        "version": 1,
        "node": edge.name,
        "hashing": {"seed": 2718281828, "table_size": 251},
        "forwarder": {
            "interfaces": [router.name],
            "pin": f"/run/bpf/{edge.name}",
            "outer_source": f"{router.address}/32",
            "mtu": 1500,
        },
        "announcer": {
            "asn": edge.asn,
            "router_id": str(edge.router_id),
            "user": user,
            "run_dir": f"{place}/announcer",
            "peers": [
                {
                    "name": router.peer,
                    "address": str(router.peer_address),
                    "asn": world.nodes[router.peer].asn,
                    "local_address": str(router.address),
                }
            ],
        },
        # What is repeated thirty times in a minute must not be held down for it; no router here damps.
        "safety": {"settle": 0.1, "hold_down": 0.3, "half_life": 0},
        "pools": {"web": _pool(world, edge, _HTTP_CHECK), "echo": _pool(world, edge, _TCP_CHECK)},
        "services": [
            {"name": "web", "vips": _texts(world.vips), "protocol": "tcp", "port": HTTP_PORT, "pool": "web"},
            {"name": "echo", "vips": _texts(world.vips[:1]), "protocol": "udp", "port": ECHO_PORT, "pool": "echo"},
        ],
    }
    if world.layout.local_check:
        value["services"][1]["local_check"] = dict(world.layout.local_check)
    if world.layout.bfd:
        value["announcer"]["bfd"] = {"tx": BFD_MS / 1000, "rx": BFD_MS / 1000, "multiplier": BFD_TIMES, **_BEAT}
    if world.layout.graceful:
        value["announcer"]["graceful_restart"] = {"time": RESTART}
    return yaml.safe_dump(merged(value, world.layout.options), sort_keys=False, default_flow_style=None, width=110)


_BEAT = {"heartbeat": {"interval": 0.005, "misses": 3}}
_PATIENCE = {"hold_down": 0.2, "damping": False}  # the same for backends
_HTTP_CHECK = {"type": "http", "port": HTTP_PORT, "path": "/healthz", **_PATIENCE}
_TCP_CHECK = {"type": "tcp", "port": ECHO_PORT, **_PATIENCE}


def merged(value: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`value` with `over` laid over it, mapping by mapping; a list of peers takes a mapping for each of them."""
    result = dict(value)
    for key, new in over.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            result[key] = merged(old, new)
        elif isinstance(old, list) and isinstance(new, Mapping):
            result[key] = [merged(entry, new) for entry in old]
        else:
            result[key] = new
    return result


def _texts(addresses: tuple[Any, ...]) -> list[str]:
    return [str(address) for address in addresses]


def _pool(world: World, edge: Node, check: Mapping[str, Any]) -> dict[str, Any]:
    names = world.pools[edge.name]
    backends = [{"name": name, "address": str(world.nodes[name].interfaces[0].address)} for name in names]
    return {"encap": "ipip", "check": dict(check), "backends": backends}


def backend_yaml(world: World, backend: Node) -> str:
    """What `fairhop backend` reads."""
    own = backend.interfaces[0]
    value = {
        "version": 1,
        "name": backend.name,
        "interface": own.name,
        "address": str(own.address),
        "vips": _texts(world.vips),
        "edges": [f"{edge.interfaces[0].address}/32" for edge in world.having("edge")],
        "encaps": ["ipip"],
        "pin": f"/run/bpf/{backend.name}",
        "echo": {"port": ECHO_PORT},
    }
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=110)


_NGINX = """\
daemon off;
worker_processes 1;
pid {place}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    add_header X-Backend {name} always;
    server {{
        listen {listen} backlog=4096;
        location = /healthz {{
            if (-f {place}/down) {{ return 503; }}
            return 200 "ok\\n";
        }}
        location / {{ return 200 "{name}\\n"; }}
    }}
}}
"""


def nginx_conf(node: Node, place: str, listen: str = str(HTTP_PORT)) -> str:
    """A node's web server; "/healthz" answers 503 while there is a file `down` in `place`."""
    return _NGINX.format(name=node.name, place=place, listen=listen)


def _peers(world: World, router: Node) -> Iterator[tuple[Node, Any]]:
    """The BGP neighbours of a router, each with the interface towards it."""
    for interface in router.interfaces:
        peer = world.nodes[interface.peer]
        if peer.asn:
            yield peer, interface


_FRR_HEAD = """\
frr version 8.4.4
frr defaults traditional
hostname {name}
no zebra nexthop kernel enable
zebra work-queue 0
bgp route-map delay-timer 1
{bfd}route-map SHUT permit 10
 match community GSHUT
 set local-preference 0
exit
route-map SHUT permit 20
exit
bgp community-list standard GSHUT seq 5 permit graceful-shutdown
router bgp {asn}
 bgp router-id {router_id}
 no bgp ebgp-requires-policy
 bgp bestpath as-path multipath-relax
 bgp bestpath compare-routerid
 {graceful}
 coalesce-time 50
"""
# Before route maps, which bfdd does not know: at their "exit" it would leave its configuration, as others would at one
# here.
_FRR_BFD = """\
bfd
 profile fast
  receive-interval {ms}
  transmit-interval {ms}
  detect-multiplier {times}
"""
_FRR_PEER = """\
 neighbor {address} remote-as {asn}
 neighbor {address} timers {keepalive} {hold}
 neighbor {address} timers connect 1
 neighbor {address} advertisement-interval 0
"""


def frr_conf(world: World, router: Node) -> str:
    """One file for zebra, bgpd and bfdd. Edges and transit's neighbours call; the router waits."""
    layout = world.layout
    graceful = f"bgp graceful-restart\n bgp graceful-restart stalepath-time {RESTART}"
    lines = [
        _FRR_HEAD.format(
            name=router.name, asn=router.asn, router_id=router.router_id,
            bfd=_FRR_BFD.format(ms=BFD_MS, times=BFD_TIMES) if layout.bfd else "",
            graceful=graceful if layout.graceful else "bgp graceful-restart-disable",
        )
    ]  # fmt: skip
    inbound = []
    for peer, interface in _peers(world, router):
        address, hold = interface.peer_address, layout.router_hold
        lines.append(_FRR_PEER.format(address=address, asn=peer.asn, keepalive=max(hold // 3, 1), hold=hold))
        if peer.role == "edge" or router.name == TRANSIT:
            lines.append(f" neighbor {address} passive\n")
        if peer.role == "edge" and layout.bfd:
            lines.append(f" neighbor {address} bfd\n neighbor {address} bfd profile fast\n")
        if peer.role == "edge":
            inbound.append(f"  neighbor {address} route-map SHUT in\n")
    paths = 1 if router.name == TRANSIT else 16
    lines += [" address-family ipv4 unicast\n", f"  maximum-paths {paths}\n", *inbound, " exit-address-family\nexit\n"]
    return "".join(lines)


_BIRD_HEAD = """\
log stderr all;
router id {router_id};
protocol device {{ scan time 1; }}
protocol kernel {{
    merge paths {merge};
    ipv4 {{ export where source = RTS_BGP; import none; }};
}}
filter from_edge {{
    if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
    accept;
}}
"""
_BIRD_BFD = """\
protocol bfd {{
    interface "*" {{ min rx interval {ms} ms; min tx interval {ms} ms; multiplier {times}; }};
}}
"""
_BIRD_PEER = """\
protocol bgp {name} {{
    local {own} as {own_asn};
    neighbor {address} as {asn};
    hold time {hold};
    connect retry time 1;
    error wait time 1, 2;
    error forget time 1;
    {passive}
    {bfd}
    {graceful}
    ipv4 {{ import {inbound}; export {outbound}; next hop self; }};
}}
"""


def bird_conf(world: World, router: Node) -> str:
    """bird.conf of a router."""
    layout = world.layout
    parts = [_BIRD_HEAD.format(router_id=router.router_id, merge="no" if router.name == TRANSIT else "on")]
    if layout.bfd:
        parts.append(_BIRD_BFD.format(ms=BFD_MS, times=BFD_TIMES))
    for peer, interface in _peers(world, router):
        edge = peer.role == "edge"
        parts.append(
            _BIRD_PEER.format(
                name=peer.name, own=interface.address, own_asn=router.asn, address=interface.peer_address,
                asn=peer.asn, hold=layout.router_hold,
                passive="passive on;" if edge or router.name == TRANSIT else "",
                bfd="bfd on;" if edge and layout.bfd else "",
                graceful="graceful restart on;" if edge and layout.graceful else "graceful restart off;",
                inbound="filter from_edge" if edge else "all",
                outbound="none" if edge else "where source = RTS_BGP",
            )
        )  # fmt: skip
    return "".join(parts)


def gobgp_conf(world: World, router: Node) -> str:
    """gobgpd's TOML: it keeps a RIB and has no kernel table."""
    parts = [f'[global.config]\n  as = {router.asn}\n  router-id = "{router.router_id}"\n']
    for peer, interface in _peers(world, router):
        parts.append(
            "[[neighbors]]\n"
            f'  [neighbors.config]\n    neighbor-address = "{interface.peer_address}"\n    peer-as = {peer.asn}\n'
            f"  [neighbors.timers.config]\n    hold-time = {world.layout.router_hold}\n"
            "  [neighbors.transport.config]\n    passive-mode = true\n"
        )
    return "".join(parts)
