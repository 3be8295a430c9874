"""What each attribute does to an ECMP set of BIRD: MED and prepend take a node out, GSHUT needs a filter."""

import contextlib
from collections.abc import Iterator

import pytest

from bgp.route import GRACEFUL_SHUTDOWN
from tests.bgp.conftest import EdgeDaemon
from tests.bgp.routers.bird import Bird
from tests.bgp.routers.net import star
from tests.bgp.routers.router import eventually, running, stays
from tests.bgp.test_attributes_frr import ASN, BOTH, node, ways

pytestmark = pytest.mark.kernel

SHUT = "if (65535, 0) ~ bgp_community then bgp_local_pref = 0;"


def bird_conf(shut: str) -> str:
    text = "router id 10.77.0.1; protocol device {}\n"
    text += f"filter edge {{ {shut} accept; }}\n"
    for family in ("ipv4", "ipv6"):
        text += f"protocol kernel {{ {family} {{ export all; }}; merge paths on; }}\n"
    for n in (1, 2):
        channels = "".join(f" {family} {{ import filter edge; export none; }};" for family in ("ipv4", "ipv6"))
        text += f"protocol bgp e{n} {{ local as 65101; neighbor 10.77.{n}.1 as {ASN}; passive on;{channels} }}\n"
    return text


@contextlib.contextmanager
def two_nodes(shut: str) -> Iterator[tuple[Bird, EdgeDaemon]]:
    with star("fh-bird", ["e1", "e2"]) as net, running(Bird, net, bird_conf(shut)) as router:
        assert isinstance(router, Bird)
        with node(router, net.leaves["e1"]) as one, node(router, net.leaves["e2"]) as two:
            for each in (one, two):
                each.order(declare={prefix: {} for prefix in BOTH})
            eventually(lambda: ways(router) == 2, 20, lambda: f"no ECMP set of two: {router.learned()}")
            yield router, one


def test_med_prepend_and_a_filtered_gshut_take_a_node_out() -> None:
    with two_nodes(SHUT) as (router, one):
        for said in ({"med": 100}, {"as_path": [ASN, ASN]}, {"communities": [GRACEFUL_SHUTDOWN]}):
            one.order(declare=dict.fromkeys(BOTH, said))
            eventually(lambda: ways(router) == 1, 5, lambda said=said: f"{said}: still two")  # type: ignore[misc]
            one.order(declare={prefix: {} for prefix in BOTH})
            eventually(lambda: ways(router) == 2, 5, lambda said=said: f"{said}: not back")  # type: ignore[misc]


def test_without_a_filter_bird_ignores_gshut() -> None:
    with two_nodes("") as (router, one):
        one.order(declare={prefix: {"communities": [GRACEFUL_SHUTDOWN]} for prefix in BOTH})
        eventually(lambda: one.state()["converged"], 5, "not converged")
        stays(lambda: ways(router) == 2, 1.0, "BIRD took the node out by itself")
