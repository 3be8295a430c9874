"""`fairhop forwarder`: the forwarder without a daemon, attached to nothing."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edge.cli.bpf_failure import fail_bpf
from edge.cli.common import NEGATIVE, USAGE, fail, json_option, print_json
from edge.cli.config_file import read_node
from edge.config.file import Config
from edge.datapath import xdp
from edge.datapath.bpf_error import BpfError
from edge.datapath.encode import EncodeError
from edge.datapath.loading import LoadedForwarder, unload
from edge.datapath.model import IpAddress, NextHop
from edge.datapath.neighbours import Neighbours, NextHops
from edge.datapath.next_hop import Finding
from edge.show import offline

_PATIENCE = 1.0  # seconds for the kernel to resolve neighbours
_NEXT_HOP = re.compile(r"^([^=]+)=((?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})$")

pin_option = click.option(
    "--pin", "pin_dir", type=click.Path(path_type=Path), required=True, help="A directory on a BPF file system."
)


@click.group()
def forwarder() -> None:
    """Load the forwarder from a configuration, attached to nothing: for test runs, benchmarks, offline questions."""


@forwarder.command("load")
@click.option("--config", "config_path", type=click.Path(dir_okay=False, path_type=Path), required=True,
              help="The node's configuration; every backend is taken as healthy.")  # fmt: skip
@pin_option
@click.option("--next-hop", metavar="IFACE=MAC", help="Reach every backend by it, not by what the kernel knows.")
@json_option
def load(config_path: Path, pin_dir: Path, next_hop: str | None, as_json: bool) -> None:
    """Load program and tables and pin them in a directory, in place of what an earlier load left there.

    Frames of test runs come in by the loopback (ifindex 1) and are sent to 02:00:00:00:00:01, or by one of the
    configured interfaces that are here. `bpftool prog run pinned DIR/program data_in FILE` is one.
    """
    config, blocked = read_node(config_path)
    try:
        known, missing = _interfaces(config)
        macs = dict(offline.INTERFACES) | {xdp.interface_index(name): mac for name, mac in known.items()}
        hops, findings = _given(config, next_hop) if next_hop else asyncio.run(_kernel(config))
        with LoadedForwarder(offline.state_of(config, hops, generation=1), macs, blocked) as loaded:
            places = loaded.pin(pin_dir)
    except BpfError as error:
        fail_bpf(error)
    except (EncodeError, OSError) as error:
        fail(str(error), NEGATIVE)
    told = {
        "config": str(config_path),
        "pinned": [str(place) for place in places],
        "interfaces": {"lo": offline.INTERFACES[offline.LOOPBACK].hex(":")} | {n: m.hex(":") for n, m in known.items()},
        "missing": missing,
        "services": sum(len(service.vips) for service in config.services),
        "blocked": blocked.count4 + blocked.count6 if blocked else 0,
        "waiting": _waiting(config, findings),
    }
    print_json(told) if as_json else click.echo("\n".join(_lines(told)))


@forwarder.command("unload")
@pin_option
def unload_command(pin_dir: Path) -> None:
    """Remove what `load` pinned; the kernel then forgets the program and its tables."""
    try:
        found = unload(pin_dir)
    except BpfError as error:
        fail_bpf(error)
    click.echo(f"unloaded {pin_dir}" if found else f"nothing is loaded in {pin_dir}")


def _interfaces(config: Config) -> tuple[dict[str, bytes], list[str]]:
    """MACs of the configured interfaces that are here, and the names of those that are not."""
    known, missing = {}, []
    for name in config.forwarder.interfaces:
        try:
            known[name] = xdp.mac_address(name)
        except BpfError:
            missing.append(name)
    return known, missing


def _given(config: Config, text: str) -> tuple[NextHops, Mapping[IpAddress, Finding]]:
    match = _NEXT_HOP.match(text)
    if not match:
        fail(f"'{text}': expected IFACE=MAC, such as eth1=02:00:00:00:00:02", USAGE)
    index = xdp.interface_index(match[1])
    own = offline.INTERFACES.get(index) or xdp.mac_address(match[1])
    hop = NextHop(index, own, bytes.fromhex(match[2].replace(":", "")))
    found = offline.addresses(config)
    return dict.fromkeys(found, hop), dict.fromkeys(found, Finding.RESOLVED)


async def _kernel(config: Config) -> tuple[NextHops, Mapping[IpAddress, Finding]]:
    """The next hops that the kernel knows or finds within a second."""
    found: dict[IpAddress, NextHop | None] = {}
    changed = asyncio.Event()

    def learn(hops: NextHops) -> None:
        found.update(hops)
        changed.set()

    async with Neighbours(learn) as neighbours:
        neighbours.follow(offline.addresses(config))
        try:
            async with asyncio.timeout(_PATIENCE):
                while not found or not all(found.values()):
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            pass
        return dict(found), neighbours.findings


def _waiting(config: Config, findings: Mapping[IpAddress, Finding]) -> dict[str, str]:
    backends = [
        (f"{pool}/{each.name}", each.address) for pool, entry in config.pools.items() for each in entry.backends
    ]
    told = {name: findings.get(address, Finding.UNRESOLVED) for name, address in backends}
    return {name: finding.value for name, finding in told.items() if not finding.has_next_hop}


def _lines(told: Mapping[str, Any]) -> list[str]:
    blocked = f", {told['blocked']} blocked prefix(es)" if told["blocked"] else ""
    lines = [f"loaded {told['config']}: {told['services']} service(s){blocked}", f"program {told['pinned'][0]}"]
    lines += [f"interface {name} {mac}" for name, mac in told["interfaces"].items()]
    lines += [f"interface {name} is not here" for name in told["missing"]]
    lines += [f"{name} waits for a next hop: {reason}" for name, reason in told["waiting"].items()]
    return lines
