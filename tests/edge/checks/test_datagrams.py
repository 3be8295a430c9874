"""udp and dns probes against servers that answer right, wrong, with garbage, or not at all."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from edge.checks.target import Outcome
from tests.edge.checks.asking import HERE, ask, target

Answer = Callable[[bytes], bytes | None]


@contextlib.contextmanager
def answering(answer: Answer, address: str = HERE) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.bind((address, 0))
        made.settimeout(10)

        def serve() -> None:
            with contextlib.suppress(OSError):
                question, peer = made.recvfrom(4096)
                said = answer(question)
                if said is not None:
                    made.sendto(said, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield made.getsockname()[1]
        thread.join(1)


def asked(answer: Answer, check: str, address: str = HERE) -> Outcome:
    with answering(answer, address) as port:
        return ask(target(f"{{port: {port}, timeout: 0.3, interval: 1.0, {check}}}", address))


@pytest.mark.parametrize("address", [HERE, "::1"])
def test_an_answer_that_has_what_is_expected_is_up(address: str) -> None:
    assert asked(lambda q: b"re: " + q, "type: udp, send: ping, expect: 're: ping'", address).detail == (
        "an answer of 8 bytes"
    )
    assert asked(lambda q: bytes(reversed(q)), "type: udp, send_hex: '00 ff 01', expect_hex: 01ff").ok
    assert asked(lambda q: b"x", "type: udp").ok


def test_an_answer_without_it_no_answer_and_no_server_are_down() -> None:
    wrong = asked(lambda q: b"nope\n", "type: udp, send: ping, expect: pong")
    assert (wrong.ok, wrong.detail) == (False, "an answer of 5 bytes that lacks 'pong': 'nope\\n'")
    assert asked(lambda q: None, "type: udp, send: ping").detail == "no answer within 0.3 s"
    gone = ask(target("{type: udp, port: 9, send: ping, timeout: 0.3, interval: 1.0}"))
    assert gone.detail == "connection refused"


def zone(*records: str, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, flags: int = 0) -> Answer:
    def answer(question: bytes) -> bytes:
        reply = dns.message.make_response(dns.message.from_wire(question))
        reply.set_rcode(rcode)
        reply.flags |= flags
        reply.answer = [dns.rrset.from_text("www.example.", 60, "IN", *record.split(" ", 1)) for record in records]
        return reply.to_wire()

    return answer


DNS = "type: dns, name: www.example"


def test_a_right_answer_is_up() -> None:
    assert asked(zone("A 192.0.2.1"), DNS).detail == "NOERROR, 1 records"
    assert asked(zone("A 192.0.2.1"), f"{DNS}, answer: 192.0.2.1").detail == "NOERROR, 192.0.2.1"
    assert asked(zone("TXT ready"), f"{DNS}, record: TXT, answer: ready").ok
    assert asked(zone("MX 10 mail.example."), f"{DNS}, record: MX, answer: 10 mail.example").ok
    assert asked(zone(rcode=dns.rcode.NXDOMAIN), f"{DNS}, rcode: NXDOMAIN").ok


@pytest.mark.parametrize(
    ("answer", "more", "detail"),
    [
        (zone(rcode=dns.rcode.SERVFAIL), "", "SERVFAIL, expected NOERROR"),
        (zone("A 192.0.2.9"), ", answer: 192.0.2.1", "NOERROR, but not 192.0.2.1: 192.0.2.9"),
        (zone(), ", answer: 192.0.2.1", "NOERROR, but not 192.0.2.1: nothing"),
        (zone(flags=dns.flags.TC), ", answer: 192.0.2.1", "NOERROR, but not 192.0.2.1: nothing: it was truncated"),
        (lambda q: b"\0" * 500, "", "not DNS: TrailingJunk in an answer of 500 bytes"),
        (lambda q: q[:2] + b"\xff" * 40, "", "not DNS: "),
        (lambda q: b"x", "", "not DNS: ShortHeader in an answer of 1 bytes"),
        (lambda q: bytes((q[0] ^ 1,)) + zone("A 192.0.2.1")(q)[1:], "", "an answer to another question"),  # type: ignore[index]
        (lambda q: q[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + b"\xc0\x0c" * 20, "", "not DNS: "),
    ],
)
def test_everything_else_is_down_with_its_reason(answer: Answer, more: str, detail: str) -> None:
    outcome = asked(answer, DNS + more)
    assert not outcome.ok
    assert outcome.detail.startswith(detail)
