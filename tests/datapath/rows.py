"""All rows of the packet tables."""

from tests.datapath import (
    rows_decap,
    rows_decap6,
    rows_guard,
    rows_icmp,
    rows_icmp6,
    rows_ipv6,
    rows_link,
    rows_service,
    rows_transport,
    rows_vlan,
)
from tests.datapath.row import Row

FORWARD: list[Row] = [
    *rows_link.ROWS,
    *rows_vlan.ROWS,
    *rows_transport.ROWS,
    *rows_icmp.ROWS,
    *rows_ipv6.ROWS,
    *rows_icmp6.ROWS,
    *rows_service.ROWS,
    *rows_guard.ROWS,
]
DECAP: list[Row] = [*rows_decap.ROWS, *rows_decap6.ROWS]
