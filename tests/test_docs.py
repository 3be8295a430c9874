"""The documents: every command that they show exists as shown, and those that need no lab are run."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lab.main import cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FAIRHOP = Path(sys.executable).with_name("fairhop")
OFFLINE = ("check", "why", "router-config")  # run as shown; all others change a machine and are run by the lab's tests


def shown(text: str) -> Iterator[str]:
    """The commands of the fenced blocks, without prompts and comments."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.M | re.S):
        for line in block.splitlines() if language in ("", "sh") else ():
            command = line.removeprefix("# ").split("  #")[0].split(" #")[0].strip()
            if command.startswith(("fairhop ", "make ", "containerlab ", "pip ")):
                yield command


def spans(text: str) -> Iterator[str]:
    """The commands in running text and tables."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for span in re.findall(r"`(fairhop [^`]+)`", prose):
        yield re.sub(r"[\[\]]", "", span)


BLOCKS = [(path.name, command) for path in DOCUMENTS for command in shown(path.read_text())]
SPANS = [(path.name, command) for path in DOCUMENTS for command in spans(path.read_text())]


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The click command that `words` call, and the words left for it."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no '{words[0]}' in {' '.join(words)}"
        command, words = found, words[1:]
    return command, words


def test_documents_show_commands() -> None:
    assert len(BLOCKS) >= 10
    assert len(SPANS) >= 10


@pytest.mark.parametrize(("document", "command"), BLOCKS)
def test_a_command_in_a_block_is_one(document: str, command: str) -> None:
    program, *words = shlex.split(command)
    if program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), flags=re.M), command
    elif program == "fairhop":
        found, rest = resolve(words)
        found.make_context(found.name, rest, resilient_parsing=True)
        if words[0] in OFFLINE:
            done = subprocess.run([FAIRHOP, *words], cwd=ROOT, check=False, capture_output=True, text=True)
            missing = words[-1].startswith("/etc/")
            assert done.returncode == (78 if missing else 0), done.stderr


@pytest.mark.parametrize(("document", "command"), SPANS)
def test_a_command_in_the_text_has_its_verbs_and_options(document: str, command: str) -> None:
    words = command.split()[1:]
    found, rest = resolve([word for word in words if not word.isupper() and word != "..."])
    options = {option for parameter in found.params for option in parameter.opts} | {"--help", "-h"}
    assert {word for word in rest if word.startswith("-")} <= options


def test_every_document_is_found_from_the_readme_and_no_link_leads_nowhere() -> None:
    todo, found, broken = [ROOT / "README.md"], set[Path](), []
    while todo:
        page = todo.pop()
        if page in found:
            continue
        found.add(page)
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            target = (page.parent / link).resolve()
            if "://" not in link and not target.exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
            todo += [target] if target.is_file() and target.suffix == ".md" else target.glob("*.md")
    assert broken == []
    assert [path.name for path in DOCUMENTS if path not in found] == []


def test_the_verdict_in_the_readme_is_of_the_steps_that_are_run() -> None:
    text = (ROOT / "README.md").read_text()
    for step in ("edge drain", "edge return", "edge kill", "edge restart", "site drain", "site return"):
        assert re.search(rf"^{step} .* of ", text, flags=re.M), step
    assert re.search(r"^VERDICT PASS: (\d+) of \1 checks passed", text, flags=re.M)
