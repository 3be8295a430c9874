"""docs/receivers.md: every line is run as far as a kernel without tunnel devices can; numbers are the encoder's."""

import re
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from edge.datapath.encode_backend import overhead_of
from edge.datapath.model import Backend, Encap
from tests.datapath.kernel import Namespace

TEXT = (Path(__file__).parents[2] / "docs" / "receivers.md").read_text()
# What the kernel says once iproute2 has understood a line: exit code 2. One that it does not understand: 1 or 255.
NO_DRIVER = ("Unknown device type", "Operation not supported")
MADE = re.compile(r"link add dev (\S+) type (\S+)")


def blocks(language: str) -> str:
    return "".join(re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.M | re.S))


def lines(program: str) -> list[list[str]]:
    found = [line.split() for line in blocks("sh").splitlines()]
    assert {words[0] for words in found} == {"ip", "sysctl"}
    return [words for words in found if words[0] == program]


def refused(host: Namespace, words: list[str], missing: set[str]) -> str:
    """Why a line of `ip` is wrong; empty when it was carried out, or lacks nothing but a driver of the kernel."""
    done = subprocess.run(["ip", "-n", host.name, *words[1:]], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    made = MADE.search(" ".join(words))
    if made and done.returncode == 2 and any(text in done.stderr for text in NO_DRIVER):
        missing.add(made[1])
        return ""
    if "Cannot find device" in done.stderr and missing & set(words):
        return ""
    return f"{' '.join(words)}: exit code {done.returncode}: {done.stderr[:200]}"


@pytest.fixture
def host() -> Iterator[Namespace]:
    namespace = Namespace()
    try:
        with namespace.inside():
            Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("0")
        namespace.ip("link", "add", "dev", "eth1", "type", "veth", "peer", "name", "far")
        for name in ("eth1", "far"):
            namespace.ip("link", "set", "dev", name, "up")
        namespace.ip("address", "add", "10.0.9.1/31", "dev", "eth1")
        namespace.ip("address", "add", "fd00:0:0:9::1/64", "dev", "eth1", "nodad")
        yield namespace
    finally:
        namespace.delete()


@pytest.mark.kernel
def test_every_line_for_ip_is_understood_and_what_needs_no_tunnel_is_carried_out(host: Namespace) -> None:
    missing: set[str] = set()
    assert [problem for words in lines("ip") if (problem := refused(host, words, missing))] == []
    assert "advmss 1436" in host.ip("route", "show", "default")
    assert "advmss 1416" in host.ip("-6", "route", "show", "default")
    for vip in ("203.0.113.10", "203.0.113.200", "2001:db8:1::10", "2001:db8:2::7"):
        assert host.ip("route", "get", vip).startswith("local ")
    devices = {made[1] for words in lines("ip") if (made := MADE.search(" ".join(words)))}
    assert len(devices) == 7
    assert missing in (set(), devices), "the kernel has either all of these drivers or none"


@pytest.mark.kernel
@pytest.mark.parametrize(
    "line", ["ip link add dev x type gre lokal 10.0.9.1", "ip route replace default via 10.0.9.0 mss"]
)
def test_a_line_that_is_wrong_is_found(host: Namespace, line: str) -> None:
    assert "exit code" in refused(host, line.split(), set())


@pytest.mark.kernel
def test_every_setting_exists_and_takes_its_value(host: Namespace) -> None:
    settings = [words[2].split("=") for words in lines("sysctl")]
    assert all(words[:2] == ["sysctl", "-w"] for words in lines("sysctl"))
    for name, value in settings:
        path = Path("/proc/sys") / name.replace(".", "/")
        if name.startswith("net.core."):  # of the whole machine, not of a namespace: only looked at
            assert path.exists()
            continue
        with host.inside():
            path.write_text(value)
            assert path.read_text().strip() == value


@pytest.mark.kernel
def test_the_rules_are_taken_by_nft(host: Namespace) -> None:
    command = ["ip", "netns", "exec", host.name, "nft", "--check", "-f", "-"]
    done = subprocess.run(command, input=blocks("nft"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_table_of_segment_sizes_is_what_the_encoder_adds() -> None:
    rows = re.findall(r"^\| `(ipip|gre)`( with key)? over IPv([46]) \| (\d+) \| (\d+) \| (\d+) \|$", TEXT, flags=re.M)
    assert len(rows) == 6
    for encap, key, version, *numbers in rows:
        address = ip_address("10.0.9.1" if version == "4" else "fd00::1")
        overhead = overhead_of(Backend(1, "b", address, Encap[encap.upper()], key=1 if key else None))
        assert [int(number) for number in numbers] == [overhead, 1500 - overhead - 40, 1500 - overhead - 60]
