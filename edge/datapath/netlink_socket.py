"""Asks the kernel for links, neighbours and routes through netlink sockets, and hears when they change."""

import errno as codes
import socket

from edge.datapath import netlink, rtnetlink
from edge.datapath.netlink import Hop, IpAddress, Message
from edge.datapath.next_hop import Station

_RECEIVE_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 22
_GROUPS = (  # they tell of everything that a next hop depends on
    netlink.GROUP_LINK,
    netlink.GROUP_NEIGHBOUR,
    netlink.GROUP_IPV4_ROUTE,
    netlink.GROUP_IPV4_RULE,
    netlink.GROUP_IPV6_ROUTE,
    netlink.GROUP_IPV6_RULE,
    netlink.GROUP_NEXTHOP,
)


class Kernel:
    """Two netlink sockets: one hears of changes, the other asks and gets its answer before it goes on."""

    def __init__(self) -> None:
        self.events = _netlink_socket()
        self._requests = _netlink_socket()
        self._sequence = 0
        for group in _GROUPS:
            self.events.setsockopt(netlink.SOL_NETLINK, netlink.ADD_MEMBERSHIP, group)
        self.events.setblocking(False)
        self._requests.settimeout(5.0)

    def close(self) -> None:
        """Close both sockets."""
        self.events.close()
        self._requests.close()

    def receive_events(self) -> list[Message] | None:
        """Return all messages that wait; None when the kernel had to drop some."""
        found: list[Message] = []
        while True:
            try:
                found += netlink.messages(self.events.recv(_RECEIVE_BYTES))
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno == codes.ENOBUFS:
                    return None
                raise

    def dump(self, kind: int) -> list[Message]:
        """Return everything of a kind."""
        self._requests.send(rtnetlink.dump_request(kind, self._next()))
        found: list[Message] = []
        while True:
            for message in self._answers():
                if message.type == netlink.NLMSG_DONE:
                    return found
                if message.type == netlink.NLMSG_ERROR:
                    raise OSError(netlink.error_code(message.payload), f"netlink dump {kind} refused")
                found.append(message)

    def link(self, ifindex: int) -> Message | None:
        """Return one link as it is now; None when it is gone."""
        self._requests.send(rtnetlink.link_request(ifindex, self._next()))
        while True:
            for message in self._answers():
                return None if message.type == netlink.NLMSG_ERROR else message

    def lookup(self, destination: IpAddress) -> tuple[Hop, ...]:
        """Return the ways of the route that the kernel matches; none when there is no route."""
        hops = self._ways(destination, whole=True)
        if any(hop.ifindex == 0 and not hop.local for hop in hops):  # net.ipv4.nexthop_compat_mode=0
            return self._ways(destination, whole=False)
        return hops

    def _ways(self, destination: IpAddress, *, whole: bool) -> tuple[Hop, ...]:
        self._requests.send(rtnetlink.route_request(destination, self._next(), whole=whole))
        while True:
            for message in self._answers():
                if message.type == netlink.NLMSG_ERROR:
                    return ()
                return rtnetlink.read_hops(message.payload)

    def use(self, station: Station) -> None:
        """Make the kernel resolve or confirm a neighbour. A refusal (the link just went) is told by a link event."""
        self._requests.send(rtnetlink.use_request(*station, self._next()))
        while not self._answers():
            pass

    def _answers(self) -> list[Message]:
        """Receive once; messages of earlier requests that were not read to the end are left out."""
        received = netlink.messages(self._requests.recv(_RECEIVE_BYTES))
        return [message for message in received if message.sequence == self._sequence]

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


def _netlink_socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    made.bind((0, 0))
    return made
