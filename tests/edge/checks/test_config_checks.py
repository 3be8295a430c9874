"""The checks of a fairhop.yaml: what can be written, what it becomes, and what is refused in which words."""

import pytest

from edge.checks.plan import Subject, subjects
from edge.config.file import load
from tests.edge.test_config import GOOD, errors

CHECK = "{type: http, port: 80}"


def pool(check: str) -> str:
    return GOOD.replace(CHECK, check)


def local(check: str) -> str:
    return GOOD.replace("pool: web}", f"pool: web, local_check: {check}}}")


GOOD_CHECKS = [
    "{type: tcp, port: 80, tether: true}",
    "[{type: tcp, port: 80}, {type: http, port: 81, status: [200, 300-399], headers: {A: b}, method: HEAD}]",
    "{type: https, port: 443, verify: false}",
    "{type: https, port: 443, ca_file: /c, min_days: 3, client_cert: /a, client_key: /b, body_regex: 'a|b'}",
    "{type: udp, port: 53, send_hex: 00ff, expect: a}",
    "{type: dns, name: www.example, record: AAAA, answer: '2001:db8::1'}",
    "{type: exec, command: [/bin/true]}",
    "{type: tunnel, vip: 203.0.113.10, port: 80, source: 10.255.0.6}",
    "{type: tunnel, probe: icmp, vip: 203.0.113.10, source: 10.255.0.6}",
    "{type: tcp, port: 1, interval: 0.1, jitter: 0, hold_down: 0, damping: false}",
]


@pytest.mark.parametrize("check", GOOD_CHECKS)
def test_what_can_be_written_reaches_the_checker(check: str) -> None:
    config = load(pool(check), "f.yaml")
    assert hash(config.pools["web"].check) is not None
    found = subjects(config)
    assert {subject.check for subject in found} == set(range(len(config.pools["web"].check)))
    for target in found.values():
        assert type(target).from_plain(target.to_plain()) == target
        assert target.timeout <= target.rules.interval


@pytest.mark.parametrize(
    "check",
    [
        "{type: process, pidfile: /run/x.pid}",
        "[{type: process, unit: nginx.service}, {type: tcp, port: 80, address: '::1'}]",
        "{type: dns, name: a, address: 10.0.0.1}",
        "{type: exec, command: [/bin/true, a]}",
    ],
)
def test_local_checks_are_of_their_service_and_its_vips_alone(check: str) -> None:
    found = subjects(load(local(check), "f.yaml"))
    services = [subject for subject in found if subject.pool is None]
    assert services[0] == Subject(None, "web", 0)
    assert [subject for subject in found if subject.pool] == [Subject("web", "a-b1", 0)]


def test_names_that_a_certificate_is_held_against() -> None:
    for more, name in (("", "10.0.9.1"), (", host: 'w.example:81'", "w.example"), (", host: w.example", "w.example"),
                       (", host: w.example, server_name: s.example", "s.example")):  # fmt: skip
        (target,) = subjects(load(pool(f"{{type: https, port: 443{more}}}"), "f.yaml")).values()
        assert target.options["tls"]["server_name"] == name


def test_places_in_time_differ_between_nodes_backends_and_checks() -> None:
    two = pool("[{type: tcp, port: 80}, {type: tcp, port: 80}]")
    keys = [t.key for text in (two, two.replace("a-e1", "a-e2")) for t in subjects(load(text, "f.yaml")).values()]
    assert len(set(keys)) == 4


WRONG = [
    ("{type: tcp, port: 80, tethr: true}", "unknown key 'tethr'; did you mean 'tether'?"),
    ("[]", "pools.web.check is empty: expected at least one entry"),
    ("[{type: tcp, port: 0}]", "pools.web.check.0.port is 0: expected greater than or equal to 1"),
    (
        "{type: process, pidfile: /a}",
        "pools.web.check.type is 'process': expected one of 'tcp', 'http', 'https', 'udp', 'dns', 'exec', 'tunnel'",
    ),
    ("{type: tcp, port: 1, timeout: 0.6}", "timeout is 0.6: expected at most the interval, 0.5"),
    ("[{type: tcp, port: 1, timeout: 0.6}]", "timeout is 0.6: expected at most the interval, 0.5"),
    (
        "{type: tcp, port: 1, interval: 0.1, fast_interval: 0.2}",
        "fast_interval is 0.2: expected at most the interval, 0.1",
    ),
    (
        "{type: tcp, port: 1, damping: {reuse: 2000}}",
        "damping.reuse is 2000: expected less than damping.suppress, 1500",
    ),
    (
        "{type: http, port: 1, status: 600}",
        "pools.web.check.status is 600: expected a status from 100 to 599, a range such as 200-299, or a list of them",
    ),
    (
        "{type: http, port: 1, status: 299-200}",
        "pools.web.check.status is '299-200': "
        "expected a status from 100 to 599, a range such as 200-299, or a list of them",
    ),
    (
        "{type: http, port: 1, body_regex: '('}",
        "pools.web.check.body_regex is '(': "
        "expected a regular expression: missing ), unterminated subpattern at position 0",
    ),
    (
        "{type: http, port: 1, headers: {Host: a}}",
        "pools.web.check.headers is {'Host': 'a'}: "
        "expected a header that is not sent anyway: 'Host' cannot be given here",
    ),
    (
        '{type: http, port: 1, headers: {A: "b\\r\\nC: d"}}',
        "pools.web.check.headers is {'A': 'b\\r\\nC: d'}: expected printable text in 'A'",
    ),
    ("{type: udp, port: 1, send: a, send_hex: '00'}", "send_hex is given beside send: expected one of them"),
    (
        "{type: udp, port: 1, send_hex: 0g}",
        "pools.web.check.send_hex is '0g': expected pairs of hexadecimal digits, such as '0a 1b'",
    ),
    ("{type: https, port: 1, verify: false, ca_file: /c}", "ca_file is '/c': expected none, because verify is false"),
    ("{type: https, port: 1, client_key: /c}", "client_key is given without client_cert"),
    (
        "{type: https, port: 1, ca_file: c.pem}",
        "pools.web.check.ca_file is 'c.pem': expected a path that begins with /",
    ),
    ("{type: exec, command: [true]}", "program 'True': expected a path that begins with /"),
    ("{type: exec, command: []}", "pools.web.check.command is empty: expected at least one entry"),
    (
        "{type: tunnel, vip: 203.0.113.99, port: 80, source: 10.255.0.6}",
        "vip 203.0.113.99 is no VIP of this file: expected one of 203.0.113.10",
    ),
    (
        "{type: tunnel, vip: 203.0.113.10, source: 10.255.0.6}",
        "a tunnel check by tcp has no port: expected the port of a service",
    ),
    (
        "{type: tunnel, vip: 203.0.113.10, port: 80, source: '2001:db8::1'}",
        "source 2001:db8::1: expected an IPv4 address, as the vip is",
    ),
    (
        "{type: tunnel, vip: 203.0.113.10, port: 80, source: 10.0.5.1}",
        "source 10.0.5.1 is one that tunnels come from: backends take no client's packet from it; "
        "expected another address of this node",
    ),
]
WRONG_LOCAL = [
    ("{type: process}", "a process check has neither pidfile nor unit: expected one of them"),
    ("{type: process, pidfile: /a, unit: a.service}", "unit is given beside pidfile: expected one of them"),
    ("{type: tcp, port: 1, timeout: 0.6}", "timeout is 0.6: expected at most the interval, 0.5"),
    (
        "[{type: tcp, port: 1, address: here}]",
        "services.0.local_check.0.address is 'here': "
        "expected an IPv4 or IPv6 address, such as 192.0.2.1 or 2001:db8::1",
    ),
]


@pytest.mark.parametrize(("check", "message"), WRONG)
def test_a_wrong_check_is_refused_in_these_words(check: str, message: str) -> None:
    found = errors(pool(check))
    assert [line.split(": ", 1)[1] for line in found][-1:] == [message] or message in "\n".join(found), found
    assert all(line.startswith(("f.yaml:12:", "f.yaml:11:")) for line in found)


@pytest.mark.parametrize(("check", "message"), WRONG_LOCAL)
def test_a_wrong_local_check_is_refused_in_these_words(check: str, message: str) -> None:
    assert [line.split(": ", 1)[1] for line in errors(local(check))] == [message]
