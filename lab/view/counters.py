"""Interface counters from rtnetlink messages: bytes in, values out. No I/O."""

import struct

from edge.datapath import netlink
from edge.datapath.rtnetlink import dump_request, read_link
from lab.view.model import Counters

_IFLA_STATS64 = 23
_STATS = struct.Struct("=QQQQ")  # rtnl_link_stats64 begins with: rx_packets, tx_packets, rx_bytes, tx_bytes


def counters_request(sequence: int) -> bytes:
    """Ask for all links of the namespace with their counters."""
    return dump_request(netlink.RTM_GETLINK, sequence)


def read_counters(datagram: bytes, found: dict[str, Counters]) -> bool:
    """Add the interfaces that a datagram tells of; True when it is the last one. Raises NetlinkError."""
    for message in netlink.messages(datagram):
        if message.type == netlink.NLMSG_DONE:
            return True
        if message.type == netlink.NLMSG_ERROR:
            raise netlink.NetlinkError(
                f"the kernel refused to tell its links (errno {netlink.error_code(message.payload)})"
            )
        if message.type == netlink.RTM_NEWLINK:
            link = read_link(message.payload)
            stats = netlink.attributes(message.payload[netlink.LINK.size :]).get(_IFLA_STATS64, b"")
            rx_packets, tx_packets, rx_bytes, tx_bytes = netlink.unpack(_STATS, stats, "counters of a link")
            found[link.name] = Counters(link.up, rx_packets, tx_packets, rx_bytes, tx_bytes)
    return False
