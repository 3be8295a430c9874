"""containerlab's own files, in Go's module cache: its examples and the files of its own tests."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import yaml

TOOLS = Path(__file__).parents[2] / "containerlab" / "tools"
MODULE = "github.com/srl-labs/containerlab"
_OURS = {"linux", "bridge", "host"}


@cache
def module() -> Path | None:
    """Where containerlab's source lies, or None without Go or without the module."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if not go:
        return None
    return _folder(go) or (_folder(go) if _run(go, "mod", "download", MODULE) is not None else None)


def _folder(go: str) -> Path | None:
    """Where the module lies, if it has been downloaded."""
    said = _run(go, "list", "-m", "-f", "{{.Dir}}", MODULE)
    return Path(said) if said and Path(said).is_dir() else None


def _run(go: str, *words: str) -> str | None:
    """What Go says about the module that is pinned for containerlab; None when it fails."""
    done = subprocess.run([go, "-C", str(TOOLS), *words], capture_output=True, text=True, check=False, timeout=120)
    return None if done.returncode else done.stdout.strip()


def files() -> list[Path]:
    """Every topology file of the module all of whose kinds are linux, bridge or host."""
    root = module()
    if root is None:
        return []
    found = (path for part in ("lab-examples", "tests") for path in sorted((root / part).rglob("*.y*ml")))
    return [path for path in found if _is_ours(path.read_text(errors="replace"))]


def _is_ours(text: str) -> bool:
    if not re.search(r"(?m)^topology:", text):
        return False
    kinds = set(re.findall(r"""kind:\s*["']?([\w-]+)""", text))
    return bool(kinds) and kinds <= _OURS


def name_of(path: Path) -> str:
    """The lab's name in the file."""
    return str(yaml.safe_load(re.sub(r"\{\{.*?\}\}", "x", path.read_text()))["name"])
