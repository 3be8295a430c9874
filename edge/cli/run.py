"""`fairhop run`: the daemon of an edge node."""

import asyncio
import errno
from pathlib import Path

import click

from bgp.exabgp_conf import SpeakerConfigError
from bgp.process import ProcessError
from edge.cli.common import CONFIG, NEGATIVE, PERMISSION, fail
from edge.cli.config_file import read_config
from edge.config import file as configuration
from edge.control.ask import DEFAULT_SOCKET
from edge.daemon.daemon import Daemon, Places
from edge.datapath.bpf_error import BpfError
from edge.decide.intent import IntentError
from edge.text.strictyaml import ConfigError


@click.command()
@click.option("--config", "config_path", type=click.Path(dir_okay=False, path_type=Path), envvar="FAIRHOP_CONFIG",
              default="/etc/fairhop/fairhop.yaml", show_default=True, help="What the node serves.")  # fmt: skip
@click.option("--socket", "socket_path", type=click.Path(path_type=Path), envvar="FAIRHOP_SOCKET",
              default=DEFAULT_SOCKET, show_default=True, help="Where to answer commands.")  # fmt: skip
@click.option("--intent", "intent_path", type=click.Path(path_type=Path), envvar="FAIRHOP_INTENT",
              default="/var/lib/fairhop/intent.json", show_default=True, help="Where drains are kept.")  # fmt: skip
def run(config_path: Path, socket_path: Path, intent_path: Path) -> None:
    """Run an edge node: check backends, forward, announce.

    Signals: HUP reloads; TERM drains, lingers and exits, a second TERM exits now; USR2 exits at once and leaves the
    forwarder and ExaBGP to the daemon that is started next. The XDP program stays attached in every case.
    """
    config = read_config(config_path, configuration.load)
    try:
        asyncio.run(Daemon(config, Places(config_path, socket_path, intent_path)).run())
    except (ConfigError, IntentError, ProcessError, SpeakerConfigError) as error:
        fail(str(error), CONFIG)
    except (BpfError, OSError) as error:
        fail(str(error), PERMISSION if error.errno in (errno.EPERM, errno.EACCES) else NEGATIVE)
