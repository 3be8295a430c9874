"""balance.json of an edge that is nftables instead of fairhop: what `lab.nodes.nft_balance` makes its rules from."""

import json

from lab.addressing import LabPlan, NodePlan, Role
from lab.render.host import HTTP_PORT


def balance_json(lab: LabPlan, node: NodePlan) -> str:
    """The services and the site's backends, and how backends are asked whether they live. Times in seconds."""
    document = {
        "rendered_from": f"{lab.name}.clab.yml",
        "check": {"port": HTTP_PORT, "path": "/healthz", "interval": 0.5, "timeout": 0.4, "rise": 2, "fall": 2},
        "services": [
            {"vip": str(vip), "protocol": protocol.name.lower(), "port": port}
            for service in lab.services
            for vip in service.vips
            for protocol, port in service.ports
        ],
        "backends": [
            {"name": one.name, "address": str(one.address), "address6": str(one.address6)}
            for one in lab.having(Role.BACKEND, node.site)
        ],
    }
    return json.dumps(document, indent=2) + "\n"
