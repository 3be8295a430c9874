"""`fairhop router-config`: what the routers that nodes announce to should be told."""

import os
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final

import click

from bgp.kits import bird, frr, gobgp
from bgp.kits.model import KitError, KitInput, Options
from bgp.kits.notes import SYSCTLS, notes, sysctl_conf
from bgp.process import ProcessError
from bgp.secrets import read_keys
from edge.announcer.attributes import speaker_config
from edge.announcer.router_kit import Choices, edges_of, kit_for
from edge.cli.common import CONFIG, NEGATIVE, USAGE, fail, json_option, print_json
from edge.cli.config_file import read_config
from edge.config.file import Config, load

RENDERERS: Final[dict[str, Callable[[KitInput], str]]] = {
    "frr": frr.render,
    "bird": bird.render,
    "gobgp": gobgp.render,
}

FILTERS: Final[dict[str, Callable[[KitInput], str]]] = {"frr": frr.nft, "bird": lambda _: "", "gobgp": lambda _: ""}
"""What a router's packet filter has to do for it; the others do all of it themselves."""


class _Network(click.ParamType[IPv4Network | IPv6Network]):
    name = "prefix"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> IPv4Network | IPv6Network:
        try:
            return ip_network(str(value))
        except ValueError:
            self.fail(f"'{value}' is no prefix: expected one such as 203.0.113.0/24", param, ctx)


class _RouterId(click.ParamType[IPv4Address]):
    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> IPv4Address:
        try:
            return IPv4Address(str(value))
        except ValueError:
            self.fail(f"'{value}' is no IPv4 address: expected one such as 10.255.0.2", param, ctx)


class _Of(click.ParamType[tuple[str, str]]):
    """EDGE=VALUE."""

    name = "edge=value"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        edge, equals, text = str(value).partition("=")
        if not (edge and equals and text):
            self.fail(f"'{value}': expected EDGE=VALUE, such as a-e1=30", param, ctx)
        return edge, text


@click.command("router-config")
@click.option("--for", "kind", type=click.Choice([*RENDERERS]), help="The make of the router.")
@click.option(
    "--config", "files", multiple=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="A node's fairhop.yaml; once for each edge of the router. [default: /etc/fairhop/fairhop.yaml]",
)  # fmt: skip
@click.option("--peer", metavar="NAME", help="The router, as announcer.peers names it.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write there, with keys as 0600."
)  # fmt: skip
@click.option("--with-secrets", is_flag=True, help="Put the MD5 keys in, read from md5_file; needs --output.")
@click.option("--router-id", type=_RouterId(), help="The router's BGP identifier; FRR keeps its own without it.")
@click.option("--aggregate", "aggregates", type=_Network(), multiple=True, help="Originate this covering prefix.")
@click.option("--any-scope", is_flag=True, help="Add no NO_EXPORT: VIPs may leave this network.")
@click.option("--accept-blackhole", multiple=True, metavar="EDGE", help="EDGE may have its VIPs discarded (65535:666).")
@click.option("--weight", "weights", type=_Of(), multiple=True, metavar="EDGE=N", help="Share of traffic (BIRD).")
@click.option("--trust-bandwidth", is_flag=True, help="Shares of traffic as edges claim them (FRR).")
@click.option(
    "--interface",
    "interfaces",
    type=_Of(),
    multiple=True,
    metavar="EDGE=NAME",
    help="For link-local sessions: the router's.",
)
@click.option("--slack", type=int, default=8, show_default=True, help="Prefixes beyond the VIPs that are borne.")
@click.option("--restart", type=int, default=1, show_default=True, help="Minutes until a cut-off edge may come back.")
@click.option("--max-paths", type=int, default=16, show_default=True, help="Edges that share a VIP's traffic at most.")
@click.option("--no-roles", is_flag=True, help="For routers older than RFC 9234.")
@click.option("--sysctls", is_flag=True, help="Print the kernel's settings for /etc/sysctl.d instead.")
@click.option("--nft", is_flag=True, help="Print the packet filter that FRR needs beside BFD (GTSM) instead.")
@json_option
def router_config(**words: Any) -> None:
    """Print the configuration that a router needs for its edges: what may come in by each, and nothing else.

    The file is complete: a router that runs nothing else can run it as it is. Its head says what is left to do by
    hand. docs/routers.md tells what each line is for and what each make of router cannot hold.
    """
    given = _Given(**words)
    if given.sysctls:
        _deliver(sysctl_conf(), given.output, 0o644)
        return
    if given.kind is None:
        fail(f"no make of router: expected --for {'|'.join(RENDERERS)}", USAGE)
    if given.with_secrets and given.output is None:
        fail("--with-secrets prints no keys: expected --output FILE as well", USAGE)
    configs = [read_config(file, load) for file in given.files or [Path("/etc/fairhop/fairhop.yaml")]]
    try:
        keys = _keys(configs, given.peer) if given.with_secrets else {}
        kit = kit_for(configs, given.peer, _choices(given, keys))
        text = (FILTERS if given.nft else RENDERERS)[given.kind](kit)
    except KitError as error:
        for problem in error.problems:
            click.echo(f"fairhop: {problem}", err=True)
        sys.exit(CONFIG)
    if given.as_json:
        print_json(_facts(given.kind, kit) | ({} if given.output else {"config": text}))
    if given.output or not given.as_json:
        _deliver(text, given.output, 0o600 if given.with_secrets else 0o644)


@dataclass(frozen=True, slots=True)
class _Given:
    """The command's words."""

    kind: str | None
    files: tuple[Path, ...]
    peer: str | None
    output: Path | None
    with_secrets: bool
    router_id: IPv4Address | None
    aggregates: tuple[IPv4Network | IPv6Network, ...]
    any_scope: bool
    accept_blackhole: tuple[str, ...]
    weights: tuple[tuple[str, str], ...]
    trust_bandwidth: bool
    interfaces: tuple[tuple[str, str], ...]
    slack: int
    restart: int
    max_paths: int
    no_roles: bool
    sysctls: bool
    nft: bool
    as_json: bool


def _choices(given: _Given, keys: dict[str, str]) -> Choices:
    wrong = [(edge, text) for edge, text in given.weights if not text.isdecimal()]
    if wrong:
        raise KitError([f"--weight {edge}={text}: expected a number from 1 to 256" for edge, text in wrong])
    options = Options(
        aggregates=given.aggregates,
        site_scope=not given.any_scope,
        blackhole_edges=frozenset(given.accept_blackhole),
        slack=given.slack,
        restart_minutes=given.restart,
        max_paths=given.max_paths,
        roles=not given.no_roles,
        trust_bandwidth=given.trust_bandwidth,
    )
    weights = {edge: int(text) for edge, text in given.weights}
    return Choices(options, given.router_id, weights, dict(given.interfaces), keys)


def _keys(configs: Sequence[Config], peer: str | None) -> dict[str, str]:
    """The key of each edge's session with the router. Ends the command where one cannot be read."""
    found: dict[str, str] = {}
    for config, one in edges_of(configs, peer):
        speaker = speaker_config(config)
        only = replace(speaker, peers=tuple(each for each in speaker.peers if each.name == one.name))
        try:
            for key in read_keys(only, os.environ).values():
                found[config.node] = key
        except ProcessError as error:
            fail(f"node {config.node}: {error}", CONFIG)
    return found


def _facts(kind: str, kit: KitInput) -> dict[str, object]:
    """What `--json` says: never a key."""
    return {
        "router": kit.router,
        "for": kind,
        "asn": kit.asn,
        "hold_time": kit.hold_time,
        "edges": [
            {
                "edge": one.edge,
                "address": str(one.address),
                "router_address": str(one.router),
                "asn": one.asn,
                "prefixes": [str(vip) for vip in one.vips],
                "md5": one.has_md5,
                "gtsm": one.gtsm,
                "bfd": one.bfd is not None,
            }
            for one in kit.sessions
        ],
        "by_hand": [*notes(kit)],
        "sysctls": dict(SYSCTLS),
    }


def _deliver(text: str, output: Path | None, mode: int) -> None:
    """Print, or write to a file that nobody could read before it has its mode."""
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT, mode)
        with os.fdopen(descriptor, "w") as file:
            if mode == 0o600:
                os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)
            file.truncate(0)
            file.write(text)
    except OSError as error:
        fail(f"{output}: {error.strerror}", NEGATIVE)
    click.echo(f"{output}: written", err=True)
