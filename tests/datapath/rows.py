"""All rows of the packet tables."""

from tests.datapath import rows_decap, rows_icmp, rows_link, rows_transport
from tests.datapath.row import Row

FORWARD: list[Row] = [*rows_link.ROWS, *rows_transport.ROWS, *rows_icmp.ROWS]
DECAP: list[Row] = rows_decap.ROWS
