"""https probes against a real TLS server, with certificates made here: right, wrong, expired, and clients' own."""

import datetime
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.checks.target import Outcome
from tests.edge.checks.asking import Serve, ask, serving, target

pytestmark = pytest.mark.process
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Authority:
    """A CA in a directory that everybody may read, and what it signs."""

    directory: Path

    def openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=self.directory)

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def sign(self, name: str, days: int = 30, *, client: bool = False) -> Path:
        """A key and a certificate for a name or an address, ending in so many days, in one file."""
        kind = "IP" if name.replace(".", "").isdigit() else "DNS"
        stem = f"{name}-{days}-{client}"
        (self.directory / "ext").write_text(f"subjectAltName={kind}:{name}\n")
        self.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-keyout", f"{stem}.key", "-out", f"{stem}.csr", "-subj", f"/CN={name}")  # fmt: skip
        now = datetime.datetime.now(datetime.UTC)
        begins, ends = now - datetime.timedelta(days=90), now + datetime.timedelta(days=days)
        stamp = "%y%m%d%H%M%SZ"
        dates = ["-startdate", begins.strftime(stamp), "-enddate", ends.strftime(stamp), "-extfile", "ext"]
        files = ["-in", f"{stem}.csr", "-out", f"{stem}.crt", "-notext"]
        self.openssl("ca", "-batch", "-config", "ca.cnf", *files, *dates)
        both = self.directory / f"{stem}.pem"
        both.write_text((self.directory / f"{stem}.key").read_text() + (self.directory / f"{stem}.crt").read_text())
        return both


CONFIGURATION = """\
[ca]
default_ca = own
[own]
dir = .
new_certs_dir = .
database = index.txt
serial = serial
certificate = ca.pem
private_key = ca.key
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("ca"))
    (made.directory / "ca.cnf").write_text(CONFIGURATION)
    (made.directory / "index.txt").touch()
    (made.directory / "serial").write_text("1000\n")
    made.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-keyout", "ca.key", "-out", "ca.pem", "-days", "3650", "-subj", "/CN=test CA")  # fmt: skip
    return made


def tls(certificate: Path, clients: Path | None = None, talk: Callable[[ssl.SSLSocket], None] | None = None) -> Serve:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)

    def serve(made: socket.socket) -> None:
        with context.wrap_socket(made, server_side=True) as secured:
            if talk:
                talk(secured)
            else:
                secured.recv(4096)
                secured.sendall(OK)
                secured.recv(1)

    return serve


def asked(serve: Serve, more: str) -> Outcome:
    with serving(serve) as port:
        return ask(target(f"{{type: https, port: {port}, timeout: 5.0, interval: 10.0, {more}}}"))


def test_a_right_certificate_is_up_by_name_and_by_address(authority: Authority) -> None:
    ca = f"ca_file: {authority.ca}"
    assert asked(tls(authority.sign("www.example")), f"{ca}, server_name: www.example").detail == "HTTP 200"
    assert asked(tls(authority.sign("www.example")), f"{ca}, host: 'www.example:8443'").ok
    assert asked(tls(authority.sign("127.0.0.1")), ca).ok


@pytest.mark.parametrize(
    ("name", "days", "more", "detail"),
    [
        ("other.example", 30, "ca_file: {ca}, server_name: www.example", "certificate: Hostname mismatch, certificate"),
        ("www.example", -1, "ca_file: {ca}, server_name: www.example", "certificate: certificate has expired"),
        ("www.example", 30, "server_name: www.example", "certificate: unable to get local issuer certificate"),
        ("127.0.0.1", 5, "ca_file: {ca}, min_days: 7", "the certificate ends in 5.0 days, expected at least 7"),
    ],
)
def test_a_certificate_that_will_not_do_is_down_with_its_reason(
    authority: Authority, name: str, days: int, more: str, detail: str
) -> None:
    outcome = asked(tls(authority.sign(name, days)), more.format(ca=authority.ca))
    assert not outcome.ok
    assert outcome.detail.startswith(detail)


def test_any_certificate_will_do_where_that_is_said(authority: Authority) -> None:
    assert asked(tls(authority.sign("other.example", -1)), "verify: false").ok


def test_a_client_certificate_is_shown_where_one_is_asked_for(authority: Authority) -> None:
    server, own = tls(authority.sign("127.0.0.1"), clients=authority.ca), authority.sign("fairhop", client=True)
    key = own.with_suffix(".key")
    shown = f"ca_file: {authority.ca}, client_cert: {own}, client_key: {key}"
    assert asked(server, shown).ok
    assert asked(server, f"ca_file: {authority.ca}").detail.startswith("TLS: ")


def test_a_file_that_cannot_be_read_is_named_with_what_to_do(authority: Authority) -> None:
    outcome = asked(tls(authority.sign("127.0.0.1")), "ca_file: /etc/none.pem")
    assert outcome.detail.startswith(
        "cannot use /etc/none.pem: No such file or directory; checks run as an unprivileged"
    )


def test_what_is_no_tls_and_what_hangs_in_the_handshake_are_down(authority: Authority) -> None:
    def plain(made: socket.socket) -> None:
        made.recv(10)
        made.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def hang(made: socket.socket) -> None:
        made.recv(10_000)
        made.recv(10_000)

    assert asked(plain, f"ca_file: {authority.ca}").detail == "TLS: wrong version number"
    with serving(hang) as port:
        found = ask(target(f"{{type: https, port: {port}, timeout: 0.2, interval: 1.0, ca_file: {authority.ca}}}"))
    assert found.detail == "no answer within 0.2 s"


def test_a_body_over_tls_is_searched_and_a_connection_cut_short_is_no_answer(authority: Authority) -> None:
    certificate, ca = authority.sign("127.0.0.1"), f"ca_file: {authority.ca}"
    assert asked(tls(certificate), f"{ca}, body: ok").detail == "HTTP 200, body as expected"
    cut = asked(tls(certificate, talk=lambda secured: secured.close()), ca)
    assert not cut.ok
