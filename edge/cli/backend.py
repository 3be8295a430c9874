"""`fairhop backend`: the process of a backend."""

import asyncio
from pathlib import Path

import click

from edge.backend import config as configuration
from edge.backend.host import HostError
from edge.backend.run import serve
from edge.cli.common import NEGATIVE, PERMISSION, fail
from edge.cli.config_file import read_config
from edge.datapath.bpf_error import BpfError


@click.command()
@click.option("--config", "config_path", type=click.Path(dir_okay=False, path_type=Path),
              envvar="FAIRHOP_BACKEND_CONFIG", default="/etc/fairhop/backend.yaml", show_default=True,
              help="What the backend serves.")  # fmt: skip
def backend(config_path: Path) -> None:
    """Run a backend: take the edges' tunnels, hold the VIPs without ARP, clamp the MSS, answer the echo service.

    TERM ends it; the decapsulator stays attached, so a restart loses no packet.
    """
    config = read_config(config_path, configuration.load)
    try:
        asyncio.run(serve(config))
    except PermissionError as error:
        fail(f"{error}: run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON", PERMISSION)
    except (HostError, BpfError, OSError) as error:
        fail(str(error), NEGATIVE)
