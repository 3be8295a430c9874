"""The block list beside a configuration: found, read, and every error at its place."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.cli.check import check
from edge.config.file import load
from edge.install.block_file import read_block_list
from edge.text.strictyaml import ConfigError
from tests.edge.test_config_rules import FULL

HERE = FULL.replace("/etc/fairhop/blocked", "blocked.txt")


def complaints(directory: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_block_list(load(HERE, "f.yaml"), str(directory / "f.yaml"))
    return [str(problem).removeprefix(f"{directory}/") for problem in caught.value.problems]


def test_the_list_beside_the_configuration_is_read_with_its_mode(tmp_path: Path) -> None:
    (tmp_path / "blocked.txt").write_text("192.0.2.0/24\n")
    found = read_block_list(load(HERE, "f.yaml"), str(tmp_path / "f.yaml"))
    assert found is not None
    assert found.lookup(IPv4Address("192.0.2.1")) is True
    elsewhere = load(FULL.replace("/etc/fairhop/blocked, dry_run: true", f"{tmp_path}/blocked.txt"), "f.yaml")
    found = read_block_list(elsewhere, "/nowhere/f.yaml")
    assert found is not None
    assert found.lookup(IPv4Address("192.0.2.1")) is False


def test_without_a_list_there_is_none() -> None:
    before, after = FULL[: FULL.index("protection:")], FULL[FULL.index("announcer:") :]
    assert read_block_list(load(before + after, "f.yaml"), "f.yaml") is None


def test_a_list_that_cannot_be_used_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "blocked.txt"
    assert complaints(tmp_path) == ["blocked.txt:1:1: the block list cannot be read: no such file or directory"]
    file.write_text("192.0.2.0/24\n192.0.2.1/24\n\nx\n")
    assert complaints(tmp_path) == [
        "blocked.txt:2:1: '192.0.2.1/24': expected 192.0.2.0/24",
        "blocked.txt:4:1: 'x': expected a prefix such as 192.0.2.0/24 or 2001:db8::/32",
    ]
    file.write_bytes(b"192.0.2.0/24 # \xfc\n")
    assert complaints(tmp_path) == ["blocked.txt:1:1: not a text file of prefixes: ordinal not in range(128)"]


def test_check_reads_the_list_too(tmp_path: Path) -> None:
    file, blocked = tmp_path / "f.yaml", tmp_path / "blocked.txt"
    file.write_text(HERE)
    blocked.write_text("192.0.2.0/24\n2001:db8::/32\n")
    done = CliRunner().invoke(check, [str(file)])
    assert done.stdout == f"{file}: ok: node a-e1, 3 service(s), 3 backend(s), 2 blocked prefix(es)\n"
    blocked.write_text("bad\n")
    done = CliRunner().invoke(check, [str(file)])
    assert (done.exit_code, done.stdout) == (78, "")
    assert done.stderr.splitlines()[-1] == f"fairhop: {file}: 1 error(s)"
    assert done.stderr.startswith(f"{blocked}:1:1: 'bad': expected a prefix")
