"""MD5 keys: read from files of the right mode alone, and found nowhere but where they must be."""

import json
import os
import signal
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bgp.secrets import NO_CORE, SecretError, read_keys
from bgp.speaker_config import PeerConfig, SpeakerConfig
from tests.bgp.conftest import EdgeDaemon
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.net import star
from tests.bgp.routers.router import eventually, running
from tests.bgp.test_attributes_frr import ASN, VIP, node, peer_of
from tests.bgp.test_peers_frr import V4, conf

CANARY = "k4narIenv0gel$!7"


def config(file: str) -> SpeakerConfig:
    peer = PeerConfig("r1", IPv4Address("10.0.5.0"), 65101, IPv4Address("10.0.5.1"), md5_file=file)
    return SpeakerConfig(65110, IPv4Address("10.0.5.1"), (peer,), ())


def key_file(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    path = directory / "r1.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_a_key_is_the_line_in_its_file(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, f"{CANARY}\n".encode(), mode)
    assert read_keys(config(str(path)), {}) == {"r1": CANARY}


def test_a_systemd_credential_is_found_by_its_name(tmp_path: Path) -> None:
    key_file(tmp_path, CANARY.encode(), 0o400)
    named = config("$CREDENTIALS_DIRECTORY/r1.key")
    assert read_keys(named, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == {"r1": CANARY}
    with pytest.raises(SecretError, match=r"r1.key, expected a unit with LoadCredential= for it"):
        read_keys(named, {})


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (CANARY.encode(), 0o604, "has mode 0604, expected nothing for others, such as 0600"),
        (CANARY.encode(), 0o620, "has mode 0620"),
        (b"", 0o600, "md5 has a character or a length not allowed"),
        (CANARY.encode() * 6, 0o600, "md5 has a character or a length not allowed"),
        (CANARY.encode() + b"\n" + CANARY.encode(), 0o600, "md5 has a character or a length not allowed"),
        (CANARY.encode() + b"\xff", 0o600, "holds bytes that are not ASCII"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_and_not_told(
    tmp_path: Path, content: bytes, mode: int, expected: str
) -> None:
    path = key_file(tmp_path, content, mode)
    with pytest.raises(SecretError, match=f"peer r1: md5_file {path}.*{expected}") as caught:
        read_keys(config(str(path)), {})
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "."])
def test_a_file_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(SecretError, match=r"cannot be read|no regular file"):
        read_keys(config(str(tmp_path / name)), {})


@pytest.fixture
def keyed() -> Iterator[tuple[Frr, EdgeDaemon]]:
    lines = (f"remote-as {ASN}", "passive", f"password {CANARY}")
    with star("fh-key", ["e1"]) as net, running(Frr, net, conf({V4: lines})) as router:
        assert isinstance(router, Frr)
        path = key_file(router.directory, CANARY.encode())
        with node(router, net.leaves["e1"], peers=[peer_of(net.leaves["e1"], md5_file=str(path))]) as daemon:
            daemon.order(declare={VIP: {}})
            eventually(lambda: VIP in router.learned(), 20, "no session with the key")
            yield router, daemon


@pytest.mark.kernel
def test_the_key_is_in_no_log_status_event_process_list_or_core(keyed: tuple[Frr, EdgeDaemon]) -> None:
    router, daemon = keyed
    old = daemon.state()
    os.kill(old["exabgp"], signal.SIGKILL)  # so that there is something to log
    eventually(lambda: daemon.state()["relay"] not in (None, old["relay"]), 20, "no new relay")
    eventually(lambda: VIP in router.learned(), 20, "not back")
    daemon.order(reconfigure={**daemon.config, "peers": [{**daemon.config["peers"][0], "md5_file": "/nonexistent"}]})
    eventually(lambda: any("refused" in event for event in daemon.events), 5, "not refused")
    state = daemon.state()
    assert daemon.process is not None
    conf_file = daemon.run_dir / "exabgp.conf"
    found = conf_file.stat()
    assert CANARY in conf_file.read_text() and found.st_mode & 0o777 == 0o400
    pids = [state["exabgp"], state["relay"], daemon.process.pid]
    assert found.st_uid == Path(f"/proc/{pids[0]}").stat().st_uid
    places = [path for path in daemon.run_dir.rglob("*") if path.is_file() and path != conf_file]
    places += [Path(f"/proc/{pid}/{file}") for pid in pids for file in ("cmdline", "environ", "status")]
    places += [each / "cmdline" for each in Path("/proc").iterdir() if each.name.isdigit()]
    told = json.dumps(daemon.events).encode()
    leaks = [str(place) for place in places if place.exists() and CANARY.encode() in contents(place)]
    assert leaks == [] and CANARY.encode() not in told
    for pid in pids:
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        soft, hard = next(line.split()[4:6] for line in limits if line.startswith("Max core file size"))
        assert int(soft) <= NO_CORE and int(hard) <= NO_CORE


def contents(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError:  # a process that has ended meanwhile
        return b""


@pytest.mark.kernel
def test_another_key_in_the_file_is_taken_by_a_reconfiguration(keyed: tuple[Frr, EdgeDaemon]) -> None:
    router, daemon = keyed
    pid = daemon.state()["exabgp"]
    router.vtysh("configure terminal", f"router bgp {65101}", f"neighbor {V4} password another-{CANARY}")
    (router.directory / "r1.key").write_text(f"another-{CANARY}\n")
    daemon.order(reconfigure=daemon.config)
    daemon.order(declare={VIP: {"med": 9}})

    def rotated() -> bool:
        return [path.get("metric") for path in router.paths(VIP)] == [9]

    eventually(rotated, 20, lambda: f"{router.paths(VIP)} {daemon.events[-5:]}")
    assert daemon.state()["exabgp"] == pid
