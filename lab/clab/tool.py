"""The containerlab command: where it is, how it is called, and the files it leaves."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lab.runtime import LabError, Progress

CHECKOUT = Path(__file__).resolve().parents[2]
_FILES = Path("/run/fairhop-lab/containerlab")  # instead of beside the topology: a checkout stays clean
_SSH_CONFIG = Path("/etc/ssh/ssh_config.d")


class ContainerlabTool:
    """Calls containerlab for one topology `file` of the lab `name`."""

    def __init__(self, file: Path, name: str, binary: str | None = None) -> None:
        self._file = file
        self._name = name
        self._binary = binary

    def run(self, verb: str, *arguments: str, progress: Progress | None = None) -> None:
        """`containerlab VERB` on the topology; its messages go to `progress`. Raises LabError with its last words.

        It runs in a session of its own, and an interrupt waits for its end: what is removed next must not grow back.
        """
        _FILES.mkdir(parents=True, exist_ok=True)
        argv = [self._command(), verb, "--topo", str(self._file), "--log-level", "info", *arguments]
        environment = {**os.environ, "CLAB_VERSION_CHECK": "disable", "CLAB_LABDIR_BASE": str(_FILES)}
        said: list[str] = []
        with subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        ) as process:
            try:
                said = list(_messages(process, progress))
            except BaseException:
                process.communicate()
                raise
        if process.returncode != 0:
            raise LabError(f"containerlab {verb} failed: {' '.join(said[-6:]) or f'exit code {process.returncode}'}")

    def clean(self) -> None:
        """Remove the files that containerlab keeps for this lab; idempotent."""
        shutil.rmtree(_FILES / f"clab-{self._name}", ignore_errors=True)
        (_SSH_CONFIG / f"clab-{self._name}.conf").unlink(missing_ok=True)

    def _command(self) -> str:
        """The command to call; raises LabError when there is none."""
        named = self._binary or os.environ.get("FAIRHOP_CONTAINERLAB")
        built = CHECKOUT / "build" / "containerlab"
        if named is None and built.exists():
            return str(built)
        found = shutil.which(named or "containerlab")
        if found is None:
            raise LabError(
                f"no containerlab ({named or 'neither build/containerlab nor one on PATH'}): "
                "containerlab/tools/build builds the pinned one, which needs Go"
            )
        return found


def _messages(process: subprocess.Popen[str], progress: Progress | None) -> Iterator[str]:
    assert process.stderr is not None
    for line in process.stderr:
        if text := line.strip():
            if progress:
                progress(text)
            yield text
