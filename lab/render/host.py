"""The files of edges and backends: fairhop.yaml, backend.yaml, nginx.conf."""

from collections.abc import Iterable
from typing import Any

import yaml

from edge.datapath.model import Protocol
from lab.addressing import LabPlan, NodePlan, Role, ServicePlan, Vip

# Equal on every node of the lab; not the product's default, so that nobody relies on one.
SEED = 2718281828
TABLE_SIZE = 65537
HOLD_TIME = 3  # seconds, the least that BGP allows
# Largest TCP segments of clients, by the underlay's version: bytes of IPv4, of IPv6. Over IPv4 1500 less the tunnel (24
# for GRE), IPv4 (20) and TCP (20) leaves 1436, and with IPv6 (40) 1416; a tunnel over IPv6 takes 20 more.
ADVMSS = {4: (1420, 1400), 6: (1400, 1380)}
ECHO_PORT = 7000
HTTP_PORT = 80
COUNTER_PORT = 8081  # on 127.0.0.1
QUIC_CONFIG, QUIC_LENGTH = 0, 2  # config_id and server_id_length of connection ids
QUIC_PROBE = "c0fa1c000108 0000000000000000 00 70696e67"  # lab.traffic.quic_server: a first datagram that says "ping"

_NGINX = """\
# {name}: rendered from {lab}.clab.yml by `fairhop lab render`; edit that file, not this one.
# Runs in the foreground under node-start; writes only below /run and to stderr.
daemon off;
user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr warn;

events {{
    worker_connections 8192;
}}

http {{
    access_log off;
    keepalive_timeout 3600s;
    keepalive_requests 10000000;
    client_body_temp_path /run/nginx-body;
    proxy_temp_path /run/nginx-proxy;
    fastcgi_temp_path /run/nginx-fastcgi;
    uwsgi_temp_path /run/nginx-uwsgi;
    scgi_temp_path /run/nginx-scgi;
    default_type text/plain;
    add_header X-Backend {name} always;

    server {{
        listen {port} backlog=4096;
        listen [::]:{port} backlog=4096 ipv6only=on;

        location = /healthz {{
            return 200 "ok\\n";
        }}

        # What is uploaded is read to its end before the second server says how many bytes that were.
        location = /upload {{
            client_max_body_size 64m;
            proxy_pass http://127.0.0.1:{counter}/;
        }}

        # Empty; a test puts there what it downloads.
        location /files/ {{
            alias /run/www/;
        }}

        location / {{
            default_type application/json;
            return 200 '{{"backend":"{name}","vip":"$server_addr","client":"$remote_addr:$remote_port"}}\\n';
        }}
    }}

    server {{
        listen 127.0.0.1:{counter};
        client_max_body_size 64m;

        location / {{
            return 200 "$http_content_length\\n";
        }}
    }}
}}
"""


def fairhop_yaml(lab: LabPlan, node: NodePlan) -> str:
    """What the edge node's daemon reads. A pool holds the backends of the node's own site."""
    return _document(
        lab,
        node,
        {
            "version": 1,
            "node": node.name,
            "hashing": {"seed": SEED, "table_size": TABLE_SIZE},
            **_quic(lab),
            "forwarder": {
                "interfaces": [interface.name for interface in node.interfaces],
                "pin": "/run/bpf/fairhop",
                "mode": "auto",
                **_outer_source(lab, node),
                "mtu": min(interface.mtu for interface in node.interfaces),
                "infrastructure": _infrastructure(lab),
            },
            "announcer": {
                "asn": node.asn,
                "router_id": str(node.router_id),
                "hold_time": HOLD_TIME,
                "lease": 2.5,
                "user": "nobody",
                **_bfd(node),
                **_read_back(lab, node),
                "peers": [_peer(lab, node, index) for index in range(len(node.interfaces))],
            },
            "drain": {"settle": 1.0, "quiet_packets": 10, "quiet_for": 2.0},
            "pools": {service.name: _pool(lab, node, service) for service in lab.services},
            "services": [entry for service in lab.services for entry in _service(service)],
        },
    )


def backend_yaml(lab: LabPlan, node: NodePlan) -> str:
    """What `fairhop backend` reads."""
    advmss, advmss6 = ADVMSS[lab.underlay]
    return _document(
        lab,
        node,
        {
            "version": 1,
            "name": node.name,
            "interface": node.interfaces[0].name,
            "address": str(lab.outer(node)),
            "vips": [str(vip) for vip in lab.vips],
            "edges": [_single(lab.outer(edge)) for edge in lab.having(Role.EDGE, node.site)],
            "encaps": sorted({service.encap.name.lower() for service in lab.services}),
            "pin": "/run/bpf/fairhop-backend",
            "mode": "auto",
            "advmss": advmss,
            "advmss6": advmss6,
            "infrastructure": _infrastructure(lab),
            "echo": {"port": ECHO_PORT},
        },
    )


def nginx_conf(lab: LabPlan, node: NodePlan) -> str:
    """The backend's web server: "/" and the header X-Backend name the backend, "/healthz" answers 200."""
    return _NGINX.format(name=node.name, lab=lab.name, port=HTTP_PORT, counter=COUNTER_PORT)


def _document(lab: LabPlan, node: NodePlan, value: dict[str, Any]) -> str:
    head = f"# {node.name}: rendered from {lab.name}.clab.yml by `fairhop lab render`; edit that file, not this one.\n"
    return head + yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=110)


def _single(address: Vip) -> str:
    """An address as the prefix that holds it alone."""
    return f"{address}/{address.max_prefixlen}"


def _outer_source(lab: LabPlan, node: NodePlan) -> dict[str, str]:
    """Where tunnels come from. The configuration always wants an IPv4 one, which an IPv6 underlay never uses."""
    if lab.underlay == 4:
        return {"outer_source": _single(lab.outer(node))}
    return {"outer_source": _single(node.router_id), "outer_source6": _single(lab.outer(node))}


def _bfd(node: NodePlan) -> dict[str, Any]:
    if node.bfd is None:
        return {}
    every = node.bfd.interval / 1000
    return {"bfd": {"tx": every, "rx": every, "multiplier": node.bfd.multiplier}}


def _read_back(lab: LabPlan, node: NodePlan) -> dict[str, Any]:
    """Each router connects to the address of its own link, so the edge listens on all; strangers are hung up on."""
    routers = [
        {"name": router.name, "address": str(lab.far(interface)), "peers": [router.name]}
        for interface, router in lab.neighbours(node)
        if lab.is_read_back(router, node)
    ]
    if not routers:
        return {}
    asked: dict[str, Any] = {"listen": "0.0.0.0" if lab.underlay == 4 else "::", "routers": routers}
    others = sorted({edge.asn for edge in lab.having(Role.EDGE)} - {node.asn})
    return {"read_back": asked | ({"origins": others} if others else {})}


def _infrastructure(lab: LabPlan) -> list[str]:
    """Addresses that no client has. Routers are left out: their ICMP errors to a VIP must get through."""
    nodes = (*lab.having(Role.EDGE), *lab.having(Role.BACKEND), *lab.having(Role.PROXY))
    interfaces = [interface for node in nodes for interface in node.interfaces]
    addresses: list[Vip] = []
    if lab.underlay == 4:
        addresses += sorted(interface.address.ip for interface in interfaces)
    if lab.underlay == 6 or lab.vips6:
        addresses += sorted(interface.address6.ip for interface in interfaces)
    return [str(address) for address in addresses]


def _peer(lab: LabPlan, node: NodePlan, index: int) -> dict[str, Any]:
    interface = node.interfaces[index]
    router = lab.nodes[interface.peer]
    peer: dict[str, Any] = {
        "name": router.name,
        "address": str(lab.far(interface)),
        "asn": router.asn,
        "local_address": str(lab.own(interface)),
    }
    if lab.underlay == 4 and lab.vips6:
        peer["local_address6"] = str(interface.address6.ip)
    if node.bfd and not lab.speak_bfd(node, router):
        peer["bfd"] = "off"
    return peer


def _pool(lab: LabPlan, node: NodePlan, service: ServicePlan) -> dict[str, Any]:
    return {
        "encap": service.encap.name.lower(),
        "check": _check(service),
        "backends": [
            {"name": backend.name, "address": str(lab.outer(backend)), "weight": 1}
            | ({"server_id": backend.number} if service.quic else {})
            for backend in lab.receivers(node.site)
        ],
    }


def _quic(lab: LabPlan) -> dict[str, Any]:
    """How connection ids name backends: by their numbers."""
    if not any(service.quic for service in lab.services):
        return {}
    return {"quic": {"config_id": QUIC_CONFIG, "server_id_length": QUIC_LENGTH}}


def quic_arguments(lab: LabPlan, node: NodePlan) -> str:
    """What `lab.traffic.quic_server` is called with, one line for each service that routes by connection id."""
    ports = [port for service in lab.services if service.quic for _, port in service.ports]
    return "".join(f"{node.name} {port} {node.number} {QUIC_LENGTH} {QUIC_CONFIG}\n" for port in ports)


def echo_arguments(_lab: LabPlan, node: NodePlan) -> str:
    """What `lab.nodes.echo_server` is called with, on a host without our agent."""
    return f"{node.name} {ECHO_PORT}\n"


def _check(service: ServicePlan) -> dict[str, Any]:
    """HTTP where the service has port 80, else a TCP connection to its first TCP port; QUIC is asked in its own way."""
    ports = [port for protocol, port in service.ports if protocol is Protocol.TCP]
    rhythm = {"interval": 0.5, "timeout": 0.4, "rise": 2, "fall": 2}
    if service.quic:
        return {"type": "udp", "port": service.ports[0][1], "send_hex": QUIC_PROBE, "expect": "ping", **rhythm}
    if HTTP_PORT in ports:
        return {"type": "http", "port": HTTP_PORT, "path": "/healthz", "status": 200, **rhythm}
    return {"type": "tcp", "port": ports[0] if ports else ECHO_PORT, **rhythm}


def _service(service: ServicePlan) -> Iterable[dict[str, Any]]:
    """One entry a port; a service with a single port keeps its plain name."""
    for protocol, port in service.ports:
        kind = protocol.name.lower()
        name = service.name if len(service.ports) == 1 else f"{service.name}-{kind}-{port}"
        vips = [str(vip) for vip in service.vips]
        entry = {"name": name, "vips": vips, "protocol": kind, "port": port, "pool": service.name}
        yield entry | {"quic": True} if service.quic else entry
