"""All rows of the packet tables."""

import dataclasses

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


def _six(table: list[Row]) -> list[Row]:
    """The rows with the family in their names."""
    return [dataclasses.replace(row, text=f"IPv6: {row.text}") for row in table]


FORWARD: list[Row] = [
    *rows_link.ROWS,
    *rows_vlan.ROWS,
    *rows_transport.ROWS,
    *rows_icmp.ROWS,
    *_six(rows_ipv6.ROWS),
    *_six(rows_icmp6.ROWS),
    *rows_service.ROWS,
    *rows_guard.ROWS,
]
DECAP: list[Row] = [*rows_decap.ROWS, *_six(rows_decap6.ROWS)]
