"""haproxy.cfg: of an edge that is HAProxy instead of fairhop, and of a proxy behind fairhop's edges.

An edge balances TCP connections over the site's backends, as an operator would who has no other layer: round robin,
checks over HTTP, connections to a dead backend closed. HAProxy carries no UDP.

A proxy is where the second tier of a front door ends or looks into connections: port 80 by HTTP, port 443 passed
through to the web server that the client's SNI names, which holds the certificate. It answers from the VIP straight to
the client.
"""

from collections.abc import Iterable, Iterator

from edge.datapath.model import Protocol
from lab.addressing import LabPlan, NodePlan, Role, ServicePlan
from lab.render.host import HTTP_PORT

TLS_PORT = 443
READY_PORT = 8404  # on 127.0.0.1
DOMAIN = "example.net"
"""NAME.example.net is one web server, www.example.net all of a site."""

_HEAD = """\
# {name}: rendered from {lab}.clab.yml by `fairhop lab render`; edit that file, not this one.
global
    log stderr format short daemon notice
    maxconn 9000 # two descriptors each; a process may have 20000
    stats socket /run/haproxy.sock mode 600 level admin

defaults
    mode tcp
    log global
    option dontlognull
    option redispatch
    retries 2
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 400ms
    default-server inter 500ms fastinter 250ms fall 2 rise 2 on-marked-down shutdown-sessions
"""

# What announces the VIPs asks here (lab.nodes.gate).
_READY = """\

frontend ready
    bind 127.0.0.1:{port}
    mode http
    timeout client 5s
    monitor-uri /ready
    monitor fail if {{ nbsrv({backend}) lt 1 }}
"""

_FRONTEND = """\

frontend {name}
{binds}    default_backend {name}

backend {name}
    balance roundrobin
{check}"""

_CHECK = "    option httpchk GET /healthz\n    http-check expect status 200\n"

_PROXY = """\

frontend http
    bind :{http},[::]:{http} v6only
    mode http
    timeout client 30s
    option forwardfor
    monitor-uri /healthz
    http-response set-header X-Proxy {name}
    default_backend web

backend web
    mode http
    balance roundrobin
    timeout server 30s
{check}{web}
# TLS is not ended here: the name in the ClientHello chooses the server, whose certificate reaches the client.
frontend tls
    bind :{tls},[::]:{tls} v6only
    tcp-request inspect-delay 2s
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    tcp-request content reject
{choices}
backend tls-all
    balance roundrobin
{check}{all}"""

_TLS_ONE = """\

backend tls-{name}
{check}{line}"""


def balancer_cfg(lab: LabPlan, node: NodePlan) -> str:
    """The file of an edge with the label `fairhop.target: haproxy`."""
    backends = lab.having(Role.BACKEND, node.site)
    text = _HEAD.format(name=node.name, lab=lab.name)
    for name, service, port in _ports(lab):
        binds = "".join(f"    bind {_bind(str(vip), port)}\n" for vip in service.vips)
        check = _CHECK if port == HTTP_PORT else ""
        text += _FRONTEND.format(name=name, binds=binds, check=check)
        text += "".join(_server(backend, port) for backend in backends)
    return text + _READY.format(port=READY_PORT, backend=next(_ports(lab))[0])


def proxy_cfg(lab: LabPlan, node: NodePlan) -> str:
    """The file of a proxy: it needs no service to be named, it serves HTTP and TLS on every address."""
    backends = lab.having(Role.BACKEND, node.site)
    text = _HEAD.format(name=node.name, lab=lab.name)
    text += _PROXY.format(
        name=node.name,
        http=HTTP_PORT,
        tls=TLS_PORT,
        check=_CHECK,
        web="".join(_server(backend, HTTP_PORT) for backend in backends),
        choices="".join(_choices(backends)),
        all="".join(_server(backend, TLS_PORT, check_port=HTTP_PORT) for backend in backends),
    )
    for backend in backends:
        line = _server(backend, TLS_PORT, check_port=HTTP_PORT)
        text += _TLS_ONE.format(name=backend.name, check=_CHECK, line=line)
    return text


def host_names(backend: NodePlan) -> tuple[str, str]:
    """The names that a web server's certificate is for: its own, and that of all."""
    return f"{backend.name}.{DOMAIN}", f"www.{DOMAIN}"


def _choices(backends: Iterable[NodePlan]) -> Iterator[str]:
    for backend in backends:
        yield f"    use_backend tls-{backend.name} if {{ req.ssl_sni -i {host_names(backend)[0]} }}\n"
    yield f"    use_backend tls-all if {{ req.ssl_sni -i www.{DOMAIN} }}\n"


def _ports(lab: LabPlan) -> Iterator[tuple[str, ServicePlan, int]]:
    for service in lab.services:
        ports = [port for protocol, port in service.ports if protocol is Protocol.TCP]
        for port in ports:
            yield service.name if len(ports) == 1 else f"{service.name}-{port}", service, port


def _bind(vip: str, port: int) -> str:
    return f"[{vip}]:{port}" if ":" in vip else f"{vip}:{port}"


def _server(backend: NodePlan, port: int, check_port: int = 0) -> str:
    check = f"check port {check_port}" if check_port else "check"
    return f"    server {backend.name} {backend.address}:{port} {check}\n"
