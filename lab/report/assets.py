"""The style sheets and scripts that are written into pages."""

from importlib import resources


def text(package: str, *names: str) -> str:
    """The files in the folder `static` of a package, one after the other."""
    folder = resources.files(package) / "static"
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)


def shared_sheet() -> str:
    """What the report and the live page have in common: colours and the drawing of the topology."""
    return text("lab.report", "shared.css")
