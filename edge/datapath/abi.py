"""The contract between the BPF programs and Python: names, numbers and layouts (core: no I/O).

`bpf/abi.h` says the same in C and a test compares the two through BTF. `edge.datapath.encode` fills these layouts.

The forwarder keeps one generation in a *directory*: the single value of an inner array map that hangs in the
array-of-maps `directory`, slot 0. Writing that slot is the commit. Tables of pools hang in `pools`, which has two
banks of MAX_POOLS; a directory names its bank, so a new generation is laid out in the idle bank first and no packet
meets half of it. All integers are little-endian; addresses and ports are host-order numbers unless said otherwise.
"""

import struct
from enum import IntEnum, StrEnum


class Verdict(IntEnum):
    """What an XDP program returns (`enum xdp_action` in linux/bpf.h). XDP_ABORTED is never used."""

    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


class Health(StrEnum):
    """How to read a counter that is not zero."""

    NORMAL = "normal"
    BAD = "bad"


class _Counted(IntEnum):
    """A counter: its index in `struct totals`, how to read it, and what it counts."""

    health: Health
    text: str

    def __new__(cls, value: int, health: Health, text: str) -> "_Counted":
        member = int.__new__(cls, value)
        member._value_ = value
        member.health = health
        member.text = text
        return member

    @property
    def label(self) -> str:
        """The name in status, metrics and `Counters`."""
        return self.name.lower()


_OK, _BAD = Health.NORMAL, Health.BAD


class Reason(_Counted):
    """Why a packet was dropped; index into `totals.drops`. 0 is "not dropped". BAD asks for an operator."""

    NONE = 0, _OK, "not dropped"
    SHORT = 1, _OK, "frame shorter than an Ethernet header"
    TRUNC = 2, _OK, "a header is cut short"
    L2_BCAST = 3, _OK, "VIP packet in a broadcast frame"
    L2_MCAST = 4, _OK, "VIP packet in a multicast frame"
    L2_SRC = 5, _OK, "source MAC is multicast or zero"
    IP_VERSION = 6, _OK, "ethertype and IP version disagree"
    IHL = 7, _OK, "IPv4 header length below five words"
    IP_OPTIONS = 8, _OK, "IPv4 options"
    LEN = 9, _OK, "a length field contradicts the bytes present"
    CSUM = 10, _OK, "IPv4 header checksum is wrong"
    TTL = 11, _OK, "TTL or hop limit is 0"
    FRAG = 12, _OK, "fragment"
    MARTIAN = 13, _OK, "a source address that no client can have"
    L4 = 14, _OK, "TCP data offset is impossible"
    PORT0 = 15, _OK, "source or destination port 0"
    PROTO = 16, _OK, "protocol that no VIP serves"
    NESTED = 17, _OK, "tunnel inside a VIP packet"
    NO_SERVICE = 18, _OK, "VIP without a service on this protocol and port"
    NO_BACKEND = 19, _BAD, "the pool has no backend"
    TABLE_CORRUPT = 20, _BAD, "lookup_table names a backend that does not exist"
    NEIGH = 21, _BAD, "next hop of the backend is not resolved"
    ENCAP_FAIL = 22, _BAD, "no room in front of the frame for the outer header"
    TOOBIG = 23, _OK, "packet does not fit the path to the backend"
    ICMP_TYPE = 24, _OK, "ICMP type that no VIP serves"
    ICMP_CSUM = 25, _OK, "echo request with a wrong ICMP checksum"
    ICMP_TRUNC = 26, _OK, "ICMP error quotes too little, or another IP version"
    ICMP_OPT = 27, _OK, "ICMP error quotes a packet with IP options or extension headers"
    ICMP_FRAG = 28, _OK, "ICMP error quotes a fragment without ports"
    ICMP_NOT_OURS = 29, _OK, "ICMP error about a packet that no VIP sent"
    ICMP_MISMATCH = 30, _OK, "ICMP error sent to another VIP than it quotes"
    ICMP_LIMIT = 31, _OK, "ICMP errors of this VIP above their rate"
    ECHO_UNSERVED = 32, _OK, "echo request to a VIP that is not served now"
    ECHO_LIMIT = 33, _OK, "echo requests above their rate"
    BAD_OUTER = 34, _BAD, "tunnel from a source that is no edge"
    ENCAP_TYPE = 35, _BAD, "tunnel type that is not configured"
    GRE = 36, _OK, "GRE flags, recursion or version not allowed"
    KEY = 37, _BAD, "GRE key missing, wrong, or where none is expected"
    GRE_PROTO = 38, _OK, "GRE payload is not IP"
    VERSION = 39, _OK, "tunnel type and inner IP version disagree"
    INNER_DST = 40, _BAD, "tunnel aims at an address that is no VIP"
    MISDELIVERED = 41, _BAD, "tunnel for a VIP that this backend does not serve"
    ECN = 42, _OK, "congestion marked on a packet without ECN (RFC 6040)"
    V6_EXTHDR = 43, _OK, "IPv6 extension header"
    RH = 44, _OK, "IPv6 routing header"
    FRAG_ATOMIC = 45, _OK, "IPv6 atomic fragment (RFC 6946)"
    ICMP_MTU = 46, _OK, "ICMPv6 packet too big with an MTU below 1280 (RFC 8201)"
    BLOCKED = 47, _OK, "source is in the block list"
    ACL = 48, _OK, "UDP source port of reflected traffic"
    SOURCE_LIMIT = 49, _OK, "packets of this source above their rate"
    VIP_LIMIT = 50, _OK, "packets to this VIP above their rate"


class Note(_Counted):
    """Something worth counting about a packet beside its verdict; index into `totals.notes`."""

    UNCONFIGURED = 0, _BAD, "passed: no generation is installed"
    VLAN = 1, _OK, "passed: VLAN tag"
    OTHER_HOST = 3, _OK, "passed: VIP packet for another station's MAC"
    TRIMMED = 4, _OK, "Ethernet padding removed"
    REDIRECTED = 5, _OK, "sent through another interface than it came in"
    ECHO_REPLY = 6, _OK, "echo request answered"
    ICMP_RELAYED = 7, _OK, "ICMP error forwarded to the flow's owner"
    PTB_SMALL = 8, _OK, "forwarded 3/4 with an MTU below 552"
    PTB_SENT = 9, _OK, "answered a packet that is too big with ICMP 3/4 or ICMPv6 2"
    PTB_LIMITED = 10, _OK, "too big, and not answered: above the rate"
    ENCAP_UNREACH = 11, _BAD, "passed: ICMP error about our own tunnel packet"
    ENCAP_PTB = 12, _BAD, "passed: packet too big about our own tunnel packet"
    ECN_CE = 13, _OK, "congestion mark moved to the inner packet"
    DECAPSULATED = 14, _OK, "passed: tunnel taken off (decapsulator)"
    LOCAL = 15, _OK, "passed: the backend is this host"
    CID_ROUTED = 16, _OK, "QUIC connection id named the backend"
    CID_UNKNOWN = 17, _OK, "QUIC connection id names no backend: the hash chose"
    BLOCK_DRY_RUN = 18, _OK, "source is in the block list, which only counts"


# Objects beside `bpf/build.py`, the one program in each, and the section it is in.
FORWARD_OBJECT, FORWARD_PROGRAM = "forward.bpf.o", "forward"
DECAP_OBJECT, DECAP_PROGRAM = "decap.bpf.o", "decap"
PASS_OBJECT, PASS_PROGRAM = "pass.bpf.o", "pass"
SECTION = "xdp"

# Maps of both programs.
TOTALS = "totals"  # PERCPU_ARRAY[1] of TOTALS_FORMAT
DIRECTORY = "directory"  # ARRAY_OF_MAPS[1]; inner ARRAY[1] of FORWARD_DIRECTORY_SIZE or DECAP_DIRECTORY_SIZE bytes
# Maps of the forwarder only.
POOLS = "pools"  # ARRAY_OF_MAPS[2 * MAX_POOLS]; inner ARRAY[1] of table_size * SLOT_SIZE bytes
SERVICE_COUNT = "service_count"  # PERCPU_ARRAY[MAX_SERVICES + 1] of SERVICE_COUNT_FORMAT, by service id
BACKEND_COUNT = "backend_count"  # PERCPU_ARRAY[MAX_BACKENDS + 1] of BACKEND_COUNT_FORMAT, by backend id
LIMITERS = "limiters"  # ARRAY of u64, private to the program: when the next packet of a limited kind is due
SOURCE_RATES = "source_rates"  # ARRAY of u64, likewise, by hash of the source
BLOCKED4, BLOCKED6 = "blocked4", "blocked6"  # ARRAY_OF_MAPS[1]; inner LPM_TRIE of BLOCK_KEY* to BLOCK_VALUE
BLOCK_HITS = "block_hits"  # PERCPU_ARRAY of u64 by index in the block list
SCRATCH = "scratch"  # PERCPU_ARRAY[1], private to the program
TRACE_CONTROL = ".data.trace"  # a variable: ARRAY[1] of TRACE_CONTROL_FORMAT
TRACE_EVENTS = "trace_events"  # RINGBUF of TRACE_EVENT_FORMAT and bytes of the packet
OUTER_MAPS = frozenset({DIRECTORY, POOLS, BLOCKED4, BLOCKED6})  # arrays of maps: what a generation consists of
FORWARD_MAPS = (
    TOTALS,
    DIRECTORY,
    POOLS,
    SERVICE_COUNT,
    BACKEND_COUNT,
    LIMITERS,
    SOURCE_RATES,
    BLOCKED4,
    BLOCKED6,
    BLOCK_HITS,
    SCRATCH,
    TRACE_CONTROL,
    TRACE_EVENTS,
)
DECAP_MAPS = (TOTALS, DIRECTORY)

# Read-only data of the forwarder, set between open and load; POOLS' inner value_size must follow it.
RODATA_TABLE_SIZE = "table_size"
RODATA_FORMATS = {RODATA_TABLE_SIZE: struct.Struct("<I")}

MAX_VIPS = 1023
MAX_SERVICES = 4096
MAX_BACKENDS = 4096
MAX_POOLS = 256
MAX_ADDRESSES = 8192
MAX_INTERFACES = 32
MAX_PREFIXES = 32
MAX_LENGTHS = 4  # different lengths of VIP prefixes, for each family
MAX_REFLECTION_PORTS = 8
DROP_COUNT, NOTE_COUNT = 64, 32

SLOT_FORMAT = struct.Struct("<4H")  # current, prev1, prev2, prev3: backend ids, 0 = none
SLOT_SIZE = SLOT_FORMAT.size
TOTALS_FORMAT = struct.Struct(f"<3Q{DROP_COUNT}Q{NOTE_COUNT}Q")  # rx, tx, passed, drops by Reason, notes by Note
SERVICE_COUNT_FORMAT = struct.Struct("<3Q")  # packets and bytes sent to backends, packets dropped
BACKEND_COUNT_FORMAT = struct.Struct("<4Q")  # packets and bytes sent; ICMP errors, packet too big about the tunnel

# Perfect-hash tables: multipliers of the buckets, then slots. See `edge.datapath.perfecthash`.
PERFECT_HASH_FORMAT = struct.Struct("<Q2I")  # multiplier, bucket_shift, slot_shift
REDUCER_FORMAT = struct.Struct("<3Q")  # factors of the two halves of sixteen bytes and of the number beside them
ADDRESS_BUCKETS, ADDRESS_SLOTS = 4096, 16384
SERVICE_BUCKETS, SERVICE_SLOTS = 2048, 8192
WIDE_BUCKETS, WIDE_SLOTS = 4096, 16384
SERVER_BUCKETS, SERVER_SLOTS = 2048, 8192
MULTIPLIER_SIZE = 8
ADDRESS_FORMAT = struct.Struct("<4s2H")  # address, flags | vip index, backend id
WIDE_FORMAT = struct.Struct("<16s4H")  # network, flags | vip index, backend id, length, 0
SERVICE_FORMAT = struct.Struct("<2H4B")  # index in POOLS + 1, service id, HashMode, quic, group, Special
INDEXED_SERVICE_FORMAT = struct.Struct("<Q8s")  # service_key(), service
EXACT4_FORMAT = struct.Struct("<Q8s")  # address | protocol << 32 | port << 48, as loaded from a packet; service
EXACT6_FORMAT = struct.Struct("<16sQ8s")  # address, port | protocol << 16, service
SERVER_FORMAT = struct.Struct("<2I")  # group << 24 | server id, backend id
INTERFACE_FORMAT = struct.Struct("<6s2xI4x")  # MAC, ifindex
FORWARD_HASHES, FORWARD_REDUCERS = 6, 2  # exact4, exact6, addresses, wide, services, servers; of exact6, of wide
DECAP_HASHES, DECAP_REDUCERS = 2, 1  # addresses, wide; of wide


class AddressFlag(IntEnum):
    """What an address is, in the upper bits of an address table's `what`."""

    ANY_PORT = 0x0400  # a VIP with a service on any port
    OWN = 0x0800  # of this machine (decapsulator)
    VIP = 0x1000  # the lower bits hold the VIP's index, 1..MAX_VIPS
    ECHO = 0x2000  # a VIP that answers ICMP echo now
    INFRASTRUCTURE = 0x4000  # never a client
    EDGE = 0x8000  # may send tunnels to this backend (decapsulator)


class Setting(IntEnum):
    """Bits of `forward_settings.flags`."""

    VLANS = 1
    DROP_PRIVATE = 2
    FILTERS = 4  # a block list, or rates of sources or VIPs
    BLOCKING = 8


class Special(IntEnum):
    """Bits of `service.special`: what keeps a service's packets off the shortest way."""

    HASHING = 1
    EXAMINE = 2


class Kind(IntEnum):
    """What stands in front of a packet to a backend (`enum backend_kind`)."""

    NONE = 0
    IPV4 = 1
    IPV6 = 2
    LOCAL = 3


VIP_INDEX_MASK = 0x03FF
SOURCE_CLASSES = 256
SOURCES6, SOURCES6_SHIFT, SOURCES6_MULTIPLIER = 1024, 54, 0x9E3779B97F4A7C15
SOURCE_CLEAN, SOURCE_CAREFUL = 0, 1
RATE_COUNT = 5
RATE_FORMAT = struct.Struct("<2Q")  # interval, credit: nanoseconds

# struct forward_settings up to its rates: generation, seed, flags (Setting), outer network and host mask (IPv4:
# numbers; IPv6: bytes), number of interfaces, QUIC config id and server id length, lengths of VIP prefixes (IPv4:
# plus 96), UDP source ports in network order. Behind it: RATE_COUNT rates (echo, too big, relayed errors, vip, source),
# MAX_INTERFACES interfaces, SOURCE_CLASSES octets, SOURCES6 octets.
SETTINGS_FORMAT = struct.Struct(f"<Q4I16s16sI2B2x{MAX_LENGTHS}s{MAX_LENGTHS}s{2 * MAX_REFLECTION_PORTS}s")
SETTINGS_SIZE = (
    SETTINGS_FORMAT.size
    + RATE_COUNT * RATE_FORMAT.size
    + MAX_INTERFACES * INTERFACE_FORMAT.size
    + SOURCE_CLASSES
    + SOURCES6
)
# struct backend: header length; largest inner packet (0: no tunnel just now); Kind; bytes of the header that are
# Ethernet and tag, and bytes behind them; egress ifindex (0: next hop unknown); sum of an IPv4 header's constant 16-bit
# words; the header; the limit that too big packets are told.
HEADER_ROOM = 72
BACKEND_FORMAT = struct.Struct(f"<2H2BH2I{HEADER_ROOM}sH38x")
# struct decap_settings: encap bits (EncapBit), number of prefixes, GRE key (network order) and whether there is one,
# lengths of VIP prefixes as above.
DECAP_SETTINGS_FORMAT = struct.Struct(f"<2I4sI{MAX_LENGTHS}s{MAX_LENGTHS}s")
PREFIX_FORMAT = struct.Struct("<16s16s")  # network, mask; IPv4 as ::ffff:a.b.c.d
BLOCK_KEY4_FORMAT, BLOCK_KEY6_FORMAT = struct.Struct("=I4s"), struct.Struct("=I16s")
BLOCK_VALUE_FORMAT = struct.Struct("=I")  # index in BLOCK_HITS, and BLOCK_DRY_RUN
BLOCK_DRY_RUN = 0x80000000
# struct trace_control: end (monotonic ns), outcomes (bit r: dropped for reason r; 0: sent; 63: passed), every, snap.
TRACE_CONTROL_FORMAT = struct.Struct("<2Q2I")
TRACE_BYTES = 2048
# struct trace_event without the bytes: monotonic ns, ifindex, verdict, reason, frame length, bytes kept.
TRACE_EVENT_FORMAT = struct.Struct("<Q2I3H2x")


class EncapBit(IntEnum):
    """Tunnel types a decapsulator accepts."""

    IPIP = 1
    GRE = 2


def _hashes_size(hashes: int, reducers: int) -> int:
    return hashes * PERFECT_HASH_FORMAT.size + reducers * REDUCER_FORMAT.size


def _table_size(entry: struct.Struct, buckets: int, slots: int) -> int:
    return buckets * MULTIPLIER_SIZE + slots * entry.size


FORWARD_HASHES_SIZE = _hashes_size(FORWARD_HASHES, FORWARD_REDUCERS)
DECAP_HASHES_SIZE = _hashes_size(DECAP_HASHES, DECAP_REDUCERS)
EXACT4_TABLE_SIZE = _table_size(EXACT4_FORMAT, SERVICE_BUCKETS, SERVICE_SLOTS)
EXACT6_TABLE_SIZE = _table_size(EXACT6_FORMAT, SERVICE_BUCKETS, SERVICE_SLOTS)
ADDRESS_TABLE_SIZE = _table_size(ADDRESS_FORMAT, ADDRESS_BUCKETS, ADDRESS_SLOTS)
WIDE_TABLE_SIZE = _table_size(WIDE_FORMAT, WIDE_BUCKETS, WIDE_SLOTS)
SERVICE_TABLE_SIZE = _table_size(INDEXED_SERVICE_FORMAT, SERVICE_BUCKETS, SERVICE_SLOTS)
SERVER_TABLE_SIZE = _table_size(SERVER_FORMAT, SERVER_BUCKETS, SERVER_SLOTS)
BACKENDS_SIZE = 2 * (MAX_BACKENDS + 1) * BACKEND_FORMAT.size
# struct forward_directory: these parts in this order; backends by family of the inner packet and id.
FORWARD_PARTS = (
    SETTINGS_SIZE,
    FORWARD_HASHES_SIZE,
    EXACT4_TABLE_SIZE,
    EXACT6_TABLE_SIZE,
    ADDRESS_TABLE_SIZE,
    WIDE_TABLE_SIZE,
    SERVICE_TABLE_SIZE,
    SERVER_TABLE_SIZE,
    BACKENDS_SIZE,
)
FORWARD_DIRECTORY_SIZE = sum(FORWARD_PARTS)
# struct decap_directory: settings, hashes, addresses, wide addresses, prefixes of edges.
DECAP_PARTS = (
    DECAP_SETTINGS_FORMAT.size,
    DECAP_HASHES_SIZE,
    ADDRESS_TABLE_SIZE,
    WIDE_TABLE_SIZE,
    MAX_PREFIXES * PREFIX_FORMAT.size,
)
DECAP_DIRECTORY_SIZE = sum(DECAP_PARTS)
