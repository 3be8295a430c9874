"""etcd.yml of a store node. Nothing of fairhop uses it yet; it is there for the fault `store-loss`."""

from lab.addressing import LabPlan, NodePlan, Role

_ETCD = """\
# {name}: rendered from {lab}.clab.yml by `fairhop lab render`; edit that file, not this one.
name: {name}
data-dir: /run/etcd
listen-client-urls: http://127.0.0.1:2379,http://{address}:2379
advertise-client-urls: http://{address}:2379
listen-peer-urls: http://{address}:2380
initial-advertise-peer-urls: http://{address}:2380
initial-cluster: {members}
initial-cluster-token: {lab}-{site}
initial-cluster-state: new
log-level: warn
logger: zap
"""


def etcd_yml(lab: LabPlan, node: NodePlan) -> str:
    """The configuration of one member; the stores of a site are one cluster. Its data live as long as the node."""
    members = ",".join(f"{one.name}=http://{one.address}:2380" for one in lab.having(Role.STORE, node.site))
    return _ETCD.format(name=node.name, lab=lab.name, address=node.address, members=members, site=node.site)
