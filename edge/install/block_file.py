"""Reads the block list that a configuration names. A million prefixes take seconds: not on an event loop."""

from pathlib import Path

from edge.config.file import Config
from edge.datapath.blocklist import BlockList, BlockListError, parse
from edge.text.strictyaml import ConfigError, Problem


def read_block_list(config: Config, name: str) -> BlockList | None:
    """The block list of `config`, which was read from the file `name`; None when it has none.

    Raises `ConfigError` for a file that cannot be read, or that has bad lines.
    """
    settings = config.protection.block_list
    if settings is None:
        return None
    path = Path(name).parent / settings.file
    try:
        with path.open(encoding="ascii") as lines:
            return parse(lines, str(path), dry_run=settings.dry_run)
    except BlockListError as error:
        raise ConfigError(Problem(str(path), line, 1, text) for line, text in error.problems) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError([Problem(str(path), 1, 1, f"the block list cannot be read: {reason}")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), 1, 1, f"not a text file of prefixes: {error.reason}")]) from None
