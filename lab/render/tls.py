"""A web server behind proxies: nginx with a certificate of its own, which the node makes when it starts."""

from lab.addressing import LabPlan, NodePlan
from lab.render.haproxy import TLS_PORT, host_names
from lab.render.host import nginx_conf

# Beside the plain ports of the same server; the key is made at the start of the node and never leaves it.
_LISTEN = """\
        listen {port} ssl backlog=4096;
        listen [::]:{port} ssl backlog=4096 ipv6only=on;
        ssl_certificate /run/tls/cert.pem;
        ssl_certificate_key /run/tls/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;

        location = /healthz {{
"""


def nginx_tls_conf(lab: LabPlan, node: NodePlan) -> str:
    """nginx.conf of a backend, with TLS."""
    before, line, after = nginx_conf(lab, node).partition("        location = /healthz {\n")
    assert line, "nginx_conf has a /healthz"
    return before + _LISTEN.format(port=TLS_PORT) + after


def tls_names(_lab: LabPlan, node: NodePlan) -> str:
    """What the certificate is for, one name a line; `node-start` makes it."""
    return "".join(f"{name}\n" for name in host_names(node))
