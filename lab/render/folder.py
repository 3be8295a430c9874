"""Rendered files on disk: `fairhop lab render` writes them beside the topology file, `--check` only compares."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a folder differs from what is wanted there: paths relative to the folder, sorted."""

    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    stray: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.stray)

    def lines(self) -> Iterator[str]:
        """One line a file, for people."""
        for kind in ("missing", "changed", "stray"):
            yield from (f"{kind:8} {name}" for name in getattr(self, kind))


def compare(folder: Path, wanted: Mapping[str, str]) -> Difference:
    """Compare `wanted` (path to content) with the disk; stray files are sought only below the tops of those paths."""
    tops = sorted({Path(name).parts[0] for name in wanted})
    present = {
        path.relative_to(folder).as_posix() for top in tops for path in (folder / top).rglob("*") if path.is_file()
    }
    common = wanted.keys() & present
    return Difference(
        missing=tuple(sorted(wanted.keys() - present)),
        changed=tuple(sorted(name for name in common if (folder / name).read_bytes() != wanted[name].encode())),
        stray=tuple(sorted(present - wanted.keys())),
    )


def write(folder: Path, wanted: Mapping[str, str], difference: Difference) -> None:
    """Make `folder` equal to `wanted`; a file that is right already is not touched."""
    for name in (*difference.missing, *difference.changed):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wanted[name].encode())
    for name in difference.stray:
        (folder / name).unlink()
