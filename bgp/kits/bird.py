"""A router kit for BIRD 2.0.12 or later: a whole bird.conf, of which part 2 can be included in another (core).

The guards R1 to R17 are told in docs/routers.md.
"""

from collections.abc import Iterator
from typing import Final

from bgp.attributes import BLACKHOLE, GRACEFUL_SHUTDOWN, NO_EXPORT
from bgp.kits.model import KitError, KitInput, Session
from bgp.kits.notes import header

_OWN: Final = """\
# Part 1: the router itself. Leave out what your configuration has; `merge paths` is what makes ECMP.
router id {router_id};
protocol device {{ }}
"""

_KERNEL: Final = """\
protocol kernel fairhop_kernel{version} {{
  ipv{version} {{ import none; export all; }};
  merge paths on limit {paths};
}}
"""

_STRIP: Final = """\
# Part 2: the edges.
function fairhop_strip() {{
  bgp_community = filter(bgp_community, [{kept}]);
  bgp_large_community.empty;
  bgp_ext_community.empty;
}}

"""

# `delete` leaves nothing of a path that is the edge's AS alone, however often; an AS_SET counts as one.
_FILTER: Final = """\
filter '{name}' {{
  if ! (net ~ [{vips}]) then reject;
  if bgp_path.len = 0 || bgp_path.first != {asn} then reject;
  if delete(bgp_path, {asn}).len > 0 then reject;
  if bgp_next_hop != {next_hop} then reject;
"""

_PROTOCOL: Final = """\
protocol bgp '{edge}' {{
  description "fairhop edge {edge}";
  local {router} as {local_asn};
  neighbor {address}{port} as {asn};
{lines}}}
"""


def render(kit: KitInput) -> str:
    """The whole file. Raises KitError for what BIRD does not do."""
    if kit.options.trust_bandwidth:
        raise KitError(["BIRD does not read link bandwidths: expected a weight for each edge instead"])
    parts = [header(kit, "#", "bird", _by_hand(kit)), _OWN.format(router_id=kit.identifier)]
    parts += [_KERNEL.format(version=version, paths=kit.options.max_paths) for version in kit.families]
    if any(session.bfd for session in kit.sessions):
        parts.append("protocol bfd fairhop_bfd { }\n")
    parts += ["\n", _STRIP.format(kept=", ".join(map(_pair, kit.kept_communities))), "".join(_aggregates(kit))]
    for session in kit.sessions:
        parts += [_filter(kit, session, version) for version in session.families]
        parts.append(_protocol(kit, session))
    return "".join(parts)


def _by_hand(kit: KitInput) -> Iterator[str]:
    for session in kit.sessions:
        if session.bfd and session.bfd_auth:
            yield f"edge {session.edge}: its BFD asks for a key: put it into `protocol bfd`; until then BFD stays down."


def _pair(community: str) -> str:
    return "({})".format(community.replace(":", ", "))


def _aggregates(kit: KitInput) -> Iterator[str]:
    for version in (4, 6):
        if kit.aggregates(version):
            routes = "".join(f"  route {prefix} blackhole;\n" for prefix in kit.aggregates(version))
            yield f"protocol static fairhop_aggregates{version} {{\n  ipv{version};\n{routes}}}\n\n"


def _filter(kit: KitInput, session: Session, version: int) -> str:
    """Only the edge's own VIPs, only as its own, only from itself; of its communities only the own set stays."""
    vips = ", ".join(map(str, session.prefixes(version)))
    text = _FILTER.format(
        name=_import(session, version), vips=vips, asn=session.asn, next_hop=session.next_hop(version)
    )
    lines = [*_blackhole(kit, session), "fairhop_strip();"]
    lines.append(f"if {_pair(GRACEFUL_SHUTDOWN)} ~ bgp_community then bgp_local_pref = 0;")
    if kit.options.site_scope:
        lines.append(f"bgp_community.add({_pair(NO_EXPORT)});")
    if session.weight is not None:
        lines.append(f"weight = {session.weight};")
    return text + "".join(f"  {line}\n" for line in [*lines, "accept;"]) + "}\n\n"


def _blackhole(kit: KitInput, session: Session) -> Iterator[str]:
    if kit.blackholes(session):
        yield f"if {_pair(BLACKHOLE)} ~ bgp_community then {{"
        yield f"  fairhop_strip(); bgp_community.add({_pair(NO_EXPORT)});"
        yield "  bgp_local_pref = 200; dest = RTD_BLACKHOLE; accept;"
        yield "}"


def _protocol(kit: KitInput, session: Session) -> str:
    lines = [*_session(kit, session)]
    for version in session.families:
        lines += _channel(kit, session, version)
    return _PROTOCOL.format(
        edge=session.edge,
        router=session.router,
        local_asn=kit.asn,
        address=f"{session.address}%{session.interface}" if session.interface else session.address,
        port="" if session.port == 179 or not session.edge_passive else f" port {session.port}",
        asn=session.asn,
        lines="".join(f"  {line}\n" for line in lines),
    )


def _session(kit: KitInput, session: Session) -> Iterator[str]:
    yield f"hold time {kit.hold_time};"
    yield f"startup hold time {kit.hold_time};"  # else an edge that died while it called is kept out for 240 s
    yield f"keepalive time {kit.keepalive};"
    if not session.edge_passive:  # one side calls: no collisions at the start
        yield "passive on;"
    else:
        yield "connect delay time 1; connect retry time 1;"  # else a call that fails is repeated after 120 s
    yield "direct;" if session.multihop is None else f"multihop {session.multihop};"
    yield f"ttl security {'on' if session.gtsm else 'off'};"
    if session.has_md5:
        yield f'password "{session.md5 or session.placeholder}";'
    if session.bfd is not None:
        times = f"min rx interval {session.bfd.receive_ms} ms; min tx interval {session.bfd.transmit_ms} ms"
        yield f"bfd {{ {times}; multiplier {session.bfd.multiplier}; }};"
    if kit.options.roles:
        yield "local role provider;"
    yield "enforce first as on;"
    yield "graceful restart aware;" if kit.options.graceful_restart else "graceful restart off;"
    yield "long lived graceful restart off;"
    if len(kit.asns) > 1:
        yield "med metric on;"
    yield f"error wait time 1, {60 * kit.options.restart_minutes};"  # doubles with each error


def _channel(kit: KitInput, session: Session, version: int) -> Iterator[str]:
    yield f"ipv{version} {{"
    if version == 4 and session.extended_next_hop:
        yield "  extended next hop on;"
    yield f"  import filter '{_import(session, version)}';"
    yield "  import keep filtered on;"  # else the limit does not count what the filter refuses
    yield f"  receive limit {kit.limit(session, version)} action restart;"
    yield "  export none;"
    yield "};"


def _import(session: Session, version: int) -> str:
    return f"fairhop_from_{session.edge}_{version}"
