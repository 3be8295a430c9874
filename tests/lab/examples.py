"""containerlab's own files, in Go's module cache: its examples and the files of its own tests."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import yaml

TOOLS = Path(__file__).parents[2] / "containerlab" / "tools"
_OURS = {"linux", "bridge", "host"}


@cache
def module() -> Path | None:
    """Where containerlab's source lies, or None without Go or without the module."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if not go:
        return None
    argv = [go, "-C", str(TOOLS), "list", "-m", "-f", "{{.Dir}}", "github.com/srl-labs/containerlab"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    found = Path(done.stdout.strip())
    return found if done.returncode == 0 and done.stdout.strip() and found.is_dir() else None


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
