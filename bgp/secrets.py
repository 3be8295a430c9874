"""Keys from files, and no core dumps of the processes that hold them.

An MD5 key lives in its file, in the daemon's memory while ExaBGP's configuration is written, in that file, and in
ExaBGP.
"""

import os
import resource
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bgp.process import ProcessError
from bgp.speaker_config import SpeakerConfig, SpeakerConfigError, check_key

CREDENTIALS: Final = "$CREDENTIALS_DIRECTORY/"
"""How the path of a systemd credential begins (systemd.exec(5), LoadCredential=)."""
NO_CORE: Final = 1
"""RLIMIT_CORE in bytes: too small for a file, and unlike 0 the kernel heeds it for a core_pattern that is a pipe."""


class SecretError(ProcessError):
    """A key that cannot be used; the text names the peer, the file and what was expected, never what is in it."""


def read_keys(config: SpeakerConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """The MD5 key of each peer that has one in a file, by the peer's name. Raises SecretError."""
    peers = [(peer.name, peer.md5_file) for peer in config.peers]
    return {name: _md5_key(name, file, environment) for name, file in peers if file is not None}


def _md5_key(name: str, file: str, environment: Mapping[str, str]) -> str:
    what = f"peer {name}: md5_file"
    key = read_secret(what, file, environment)
    try:
        check_key(f"{what} {_path(what, file, environment)}", key)
    except SpeakerConfigError as error:
        raise SecretError(str(error)) from None
    return key


def read_secret(what: str, text: str, environment: Mapping[str, str]) -> str:
    """One line out of the file that `text` names, which nobody else may read; `what` begins the text of an error.

    Raises SecretError.
    """
    path = _path(what, text, environment)
    place = f"{what} {path}"
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise SecretError(f"{place} is no regular file")
            if mode & 0o027:
                raise SecretError(f"{place} has mode {mode & 0o777:04o}, expected nothing for others, such as 0600")
            return file.read(4096).decode("ascii").removesuffix("\n")
    except OSError as error:
        raise SecretError(f"{place} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SecretError(f"{place} holds bytes that are not ASCII") from None


def _path(what: str, text: str, environment: Mapping[str, str]) -> Path:
    if not text.startswith(CREDENTIALS):
        return Path(text)
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise SecretError(f"{what} is {text}, expected a unit with LoadCredential= for it")
    return Path(directory) / text.removeprefix(CREDENTIALS)


def forbid_core_dumps() -> None:
    """Keep this process and its children from leaving keys in core files."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    limit = NO_CORE if hard == resource.RLIM_INFINITY else min(NO_CORE, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
