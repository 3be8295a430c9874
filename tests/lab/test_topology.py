"""Topology files: what they mean, and the frozen text of every error in them."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.text.strictyaml import ConfigError
from lab.topology import dotenv
from lab.topology.envsubst import substitute
from lab.topology.keys import NODE_KEYS, UNSUPPORTED_NODE_KEYS
from lab.topology.model import StageCommand, long_name
from lab.topology.parse import DEFAULT_MTU, Bind, Endpoint, Healthcheck, Node, Stage, Topology, WaitFor, load


def topology(body: str, **options: Any) -> Topology:
    return load(f"name: t\ntopology:\n{body}", "t.clab.yml", **options)


def node(words: str, above: str = "") -> Node:
    return topology(f"{above}  nodes:\n    r1: {{kind: linux, {words}}}").nodes["r1"]


def errors(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, "t.yml", environ=environ or {})
    return str(caught.value).split("\n")


def faults(words: str, links: str = "[]") -> list[str]:
    """The errors of a node's words, without their place in the file."""
    text = f"name: t\ntopology:\n  links: {links}\n  nodes:\n    r2: {{kind: linux}}\n    r1: {{kind: linux, {words}}}"
    return [line.split(": ", 1)[1] for line in errors(text)]


def test_smallest() -> None:
    read = topology("  defaults: {kind: linux}\n  nodes: {r1: , r2: {}}")
    assert list(read.nodes) == ["r1", "r2"]
    assert read.nodes["r1"] == Node("r1", kind="linux", group="", image="", hostname="r1", command=())
    assert read.links == ()


INHERITED = """
  defaults:
    {kind: linux, image: d, env: {A: d, B: d}, exec: [d], cap-add: [X, Y], binds: ["d:/a", "d:/b"], sysctls: {s: 0}}
  kinds:
    linux: {image: k, hostname: k, env: {B: k, C: k}, exec: [k], cap-add: [Y], labels: {l: k}}
  groups:
    g: {hostname: g, env: {C: g, D: g}, exec: [g], cap-add: [Z], binds: ["g:/b:ro"], labels: {l: g}}
  nodes:
    n: {group: g, env: {D: n}, exec: [n], sysctls: {s: 1}}
    plain:
"""


def test_node_over_group_over_kind_over_defaults() -> None:
    read = topology(INHERITED).nodes["n"]
    assert (read.image, read.hostname, read.group) == ("k", "g", "g")
    assert read.env == {"A": "d", "B": "k", "C": "g", "D": "n"}
    assert read.exec == ("d", "k", "g", "n")
    assert read.cap_add == ("X", "Y", "Z")
    assert read.binds == (Bind("d", "/a", False), Bind("g", "/b", True))
    assert (read.labels, read.sysctls) == ({"l": "g"}, {"s": "1"})


def test_a_node_without_a_group_has_nothing_of_it() -> None:
    read = topology(INHERITED).nodes["plain"]
    assert (read.hostname, read.env, read.exec) == ("k", {"A": "d", "B": "k", "C": "k"}, ("d", "k"))


def test_group_and_kind_may_come_from_elsewhere() -> None:
    body = "  groups: {g: {kind: linux, image: i}}\n  defaults: {group: g}\n  nodes: {n: , m: {kind: linux}}"
    read = topology(body)
    assert [(n.kind, n.group, n.image) for n in read.nodes.values()] == [("linux", "g", "i")] * 2


def test_scalars_of_maps_are_text_as_written() -> None:
    read = node('env: {A: 0123, B: no, C: 2222:22, D: 7, E: true}, labels: {asn: 65000:10, "n.": ""}')
    assert read.env == {"A": "0123", "B": "no", "C": "2222:22", "D": "7", "E": "true"}
    assert read.labels == {"asn": "65000:10", "n.": ""}


def test_command_is_entrypoint_and_cmd_split_like_a_shell_does() -> None:
    assert node("entrypoint: sh -c, cmd: \"'echo a b' x\"").command == ("sh", "-c", "echo a b", "x")


def test_binds_and_magic_variables() -> None:
    body = """
  nodes:
    r1:
      kind: linux
      binds: ["c/__clabNodeName__:/a:rw", "__clabNodeDir__/x:/b:ro", "__clabDir__:/c"]
      exec: ["echo __clabLabName__ __clabNodeName__"]
      env: {N: __clabNodeName__}
      stages: {create: {exec: [{command: "mkdir __clabNodeDir__", target: host, phase: on-exit}]}}"""
    read = topology(body, folder="/top").nodes["r1"]
    assert [bind.source for bind in read.binds] == ["c/r1", "/top/clab-t/r1/x", "/top/clab-t"]
    assert [bind.read_only for bind in read.binds] == [False, True, False]
    assert read.exec == ("echo clab-t r1",)
    assert read.env == {"N": "__clabNodeName__"}  # containerlab replaces none in env
    assert read.stages["create"].commands == (StageCommand("mkdir /top/clab-t/r1", "host", "on-exit"),)


def test_stages_merge_and_drop_what_is_said_twice() -> None:
    wait = "stages: {create: {wait-for: [{node: r2, stage: configure}]}}"
    body = f"  defaults: {{kind: linux}}\n  groups: {{g: {{{wait}}}}}\n  nodes: {{r2: , r1: {{group: g, {wait}}}}}"
    assert topology(body).nodes["r1"].stages == {"create": Stage((WaitFor("r2", "configure"),))}


def test_healthcheck_zero_means_dockers_default() -> None:
    read = node("healthcheck: {test: [CMD, true], interval: 0, retries: 2}".replace("true", '"true"'))
    assert read.healthcheck == Healthcheck(("CMD", "true"), interval=30, timeout=30, retries=2, start_period=0)


def test_the_most_specific_false_wins() -> None:
    above = "  defaults: {privileged: true, network-mode: none}\n"
    assert node("privileged: false", above).privileged is False
    assert node("privileged: false", above).network_mode == "none"


LINKS = """
  defaults: {kind: linux}
  nodes: {r1: , r2: }
  links:
    - endpoints: ["r1:eth1", "r2:eth1"]
    - {endpoints: ["r1:eth2", "r2:eth2"], mtu: 1500, labels: {cost: 7}}
    - type: veth
      mtu: 9000
      endpoints: [{node: r1, interface: eth3, mac: "aa:c1:ab:00:00:01"}, {node: r2, interface: eth3}]
"""


def test_brief_and_long_links() -> None:
    read = topology(LINKS)
    assert [link.mtu for link in read.links] == [DEFAULT_MTU, 1500, 9000] == [9500, 1500, 9000]
    assert read.links[1].labels == {"cost": "7"}
    assert read.links[2].ends == (Endpoint("r1", "eth3", "aa:c1:ab:00:00:01"), Endpoint("r2", "eth3"))
    assert [str(end) for end in read.endpoints("r2")] == ["r2:eth1", "r2:eth2", "r2:eth3"]


@pytest.mark.parametrize(
    ("prefix", "expected"), [("clab", "clab-lab-n"), ("", "n"), ("__lab-name", "lab-n"), ("x", "x-lab-n")]
)
def test_long_name(prefix: str, expected: str) -> None:
    assert long_name(prefix, "lab", "n") == expected


ENVIRON = {"SET": "v", "EMPTY": "", "OTHER": "o"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$SET ${SET} $$SET $$", "v v $SET $"),
        ("$UNSET ${UNSET} $EMPTY", "$UNSET $UNSET $EMPTY"),
        ("$1 ${1} $ {SET} $-", "$1 ${1} $ {SET} $-"),
        ("${UNSET:=d} ${UNSET:-d e} ${EMPTY:=d} ${SET:=d}", "d d e d v"),
        ("${UNSET-d} ${UNSET=d} ${EMPTY-d} ${SET-d}", "d d $EMPTY v"),
        ("${SET:+y} ${SET+y} ${EMPTY:+y} ${UNSET:+y}", "y y y "),
        ("${UNSET:=$OTHER} ${UNSET:-$NONE} ${UNSET:=a:b/c}", "o $NONE a:b/c"),
        ("${UNSET:=}|", "|"),
    ],
)
def test_environment(text: str, expected: str) -> None:
    assert substitute(text, ENVIRON, "f") == expected


@given(st.text(alphabet="$ab{}:=-\n "))
def test_doubling_every_dollar_protects_any_text(text: str) -> None:
    assert substitute(text.replace("$", "$$"), {"a": "X", "ab": "Y"}, "f") == text


def test_environment_reaches_the_topology() -> None:
    body = "  nodes: {r1: {kind: linux, image: '${IMAGE:=none}', env: {PRICE: '$$5'}}}"
    read = topology(body, environ={"IMAGE": "mine"}).nodes["r1"]
    assert (read.image, read.env) == ("mine", {"PRICE": "$5"})


def test_all_errors_at_once_each_at_its_place() -> None:
    text = """name: x_!
topologyy: 1
mgmt: {network: m}
topology:
  defaults: {kind: linux, bindz: [a], certificate: {}, mgmt-ipv4: 1.2.3.4, env: {A: 1.5}}
  nodes:
    r1: {cmd: "sh -c 'x", binds: ["a:b", "c:/d:zz"]}
    r2: {kind: srl, network-mode: hosts}
  links:
    - {endpoints: ["r1:eth1", "r3:eth1"], mtu: 9, ipv4: [a, b]}
    - {type: mgmt-net}
"""
    assert errors(text) == [
        "t.yml:1:7: name is 'x_!': string should match pattern '^[a-zA-Z0-9][a-zA-Z0-9._-]*$'",
        "t.yml:2:1: unknown key 'topologyy' in a topology file; did you mean 'topology'?",
        "t.yml:5:27: unknown key 'bindz' in a node; did you mean 'binds'?",
        "t.yml:5:39: key 'certificate' of a node is containerlab's but not supported here: remove it",
        "t.yml:5:85: topology.defaults.env.A is 1.5: expected text; write it in quotes",
        "t.yml:7:15: command 'sh -c 'x': no closing quotation",
        "t.yml:7:35: bind 'a:b': expected source:/target or source:/target:ro",
        "t.yml:7:42: bind 'c:/d:zz': option 'zz' is not supported: expected ro or rw",
        "t.yml:8:16: kind 'srl' is unknown: expected linux, bridge or host; valid: bridge, host, linux",
        "t.yml:8:35: network-mode 'hosts' is not supported: expected none, bridge, host or container:NODE",
        "t.yml:10:31: endpoint 'r3:eth1' names no node of this file; did you mean 'r2'?",
        "t.yml:10:48: mtu is 9: expected a whole number from 68 to 65535",
        "t.yml:11:14: link type 'mgmt-net' is containerlab's but not supported here: expected veth, host, macvlan, "
        "vxlan or dummy, or no type for the brief form",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["t.yml:1:1: a topology file is a mapping with 'name' and 'topology'"]),
        ("name: t", ["t.yml:1:1: the file lacks the key 'topology'"]),
        ("name: t\ntopology: {}", ["t.yml:2:11: topology lacks the key 'nodes'"]),
        ("name: t\ntopology: {nodes: {}}", ["t.yml:2:12: topology.nodes is empty: expected at least one entry"]),
        ("name: t\nname: u", ["t.yml:2:1: key 'name' is given twice, first on line 1"]),
        (
            "name: t\ntopology: {nodes: {r1: }}",
            ["t.yml:2:20: node 'r1' has no kind, nor have its group and the defaults: expected linux, bridge or host"],
        ),
        (
            "name: t\ntopology: {nodes: {{{range .}}: }}",
            ["t.yml:2:19: Go templates ('{{') are not supported: write the values out"],
        ),
        (
            "name: t\na: ${A\nb: ${B:?c}",
            [
                "t.yml:2:4: '${A...' is no substitution: expected ${NAME} or ${NAME:=default} on one line",
                "t.yml:3:4: '${B...' is no substitution: expected ${NAME} or ${NAME:=default} on one line",
            ],
        ),
    ],
)
def test_errors_of_a_file(text: str, expected: list[str]) -> None:
    assert errors(text) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("privilegd: 1", "unknown key 'privilegd' in a node; did you mean 'privileged'?"),
        (
            "network-mode: container:r3",
            "network-mode of 'r1' names 'r3', which is no node of this file; did you mean 'r2'?",
        ),
        ("network-mode: container:r1", "node 'r1' shares its own network namespace in a ring"),
        ("stages: {creat: {}}", "unknown key 'creat' in 'stages'; did you mean 'create'?"),
        ("stages: {create: {exek: []}}", "unknown key 'exek' in a stage; did you mean 'exec'?"),
        ("healthcheck: {tst: [a], test: [b]}", "unknown key 'tst' in a healthcheck; did you mean 'test'?"),
        ("healthcheck: {}", "topology.nodes.r1.healthcheck lacks the key 'test'"),
        (
            "stages: {create: {wait-for: [{node: r3, stage: create}]}}",
            "wait-for names 'r3', which is no node of this file; did you mean 'r2'?",
        ),
        (
            "stages: {create: {wait-for: [{node: r2, stage: done}]}}",
            "topology.nodes.r1.stages.create.wait-for.0.stage is 'done': "
            "expected 'create', 'create-links', 'configure', 'healthy' or 'exit'",
        ),
        (
            "stages: {create: {wait-for: [{node: r2, stage: healthy}]}}",
            "node 'r1' waits until 'r2' is healthy, which has no healthcheck",
        ),
        (
            "stages: {create: {wait-for: [{node: r1, stage: create}]}}",
            "node 'r1' waits for itself, through wait-for on r1: the lab could never start",
        ),
        ("binds: [/only]", "bind '/only': expected source:/target or source:/target:ro"),
        ('exec: ["a \'b"]', "command 'a 'b': no closing quotation"),
        ("startup-delay: -1", "topology.nodes.r1.startup-delay is -1: expected greater than or equal to 0"),
    ],
)
def test_errors_of_a_node(words: str, expected: str) -> None:
    assert faults(words) == [expected]


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ('{endpoints: ["r1:eth1"]}', "a link needs exactly two endpoints"),
        ('{endpoints: ["r1", "r2:eth1"]}', "endpoint 'r1': expected \"node:interface\""),
        ('{endpoint: 1, endpoints: ["r1:e1", "r2:e1"]}', "unknown key 'endpoint' in a link; did you mean 'endpoints'?"),
        ('{endpoints: ["r1:e1", "r1:e1"]}', "endpoint 'r1:e1' is used twice, first on line 3"),
        (
            '{endpoints: ["r1:averylonginterface", "r2:e1"]}',
            "endpoint 'r1:averylonginterface': 'averylonginterface' is no interface name: "
            "expected 1 to 15 characters, such as eth1",
        ),
        (
            '{endpoints: ["r1:eth0", "r2:e1"]}',
            "endpoint 'r1:eth0': eth0 is the management interface unless the node has network-mode: none",
        ),
        (
            "{type: veth, endpoints: [{node: r1, interface: e1, mac: '01:00:00:00:00:00'}, {node: r2, interface: e1}]}",
            "endpoint 'r1:e1': '01:00:00:00:00:00' is no unicast MAC address, such as aa:c1:ab:00:00:01",
        ),
        (
            "{type: tube}",
            "link type 'tube' is unknown: expected veth, host, macvlan, vxlan or dummy, or no type for the brief form",
        ),
        (
            '{endpoints: ["r1:e1", "mgmt-net:x"]}',
            "endpoint 'mgmt-net:x': mgmt-net is containerlab's but not supported here: there is no such network",
        ),
        ('{endpoints: ["host:a", "host:b"]}', "a link from host:a to host:b touches no node of this file"),
        (
            "{type: vxlan, endpoint: {node: r1, interface: e1}, remote: there, vni: 7}",
            "remote is 'there': expected an IP address",
        ),
        (
            "{type: macvlan, endpoint: {node: r1, interface: e1}, host-interface: up0, mode: brigde}",
            "mode is 'brigde': expected bridge, vepa, private, passthru, source",
        ),
        ("r1:e1", "a link is 'r1:e1': expected a mapping with 'endpoints'"),
    ],
)
def test_errors_of_a_link(link: str, expected: str) -> None:
    assert faults("", f"[{link}]") == [expected]


def test_a_kind_of_containerlab_is_told_from_one_that_is_unknown() -> None:
    assert errors("name: t\ntopology: {nodes: {a: {kind: nokia_srlinux}, b: {kind: linus}}}") == [
        "t.yml:2:30: kind 'nokia_srlinux' is containerlab's but not supported here: expected linux, bridge or host",
        "t.yml:2:56: kind 'linus' is unknown: expected linux, bridge or host; did you mean 'linux'?",
    ]


FORMS = """
  defaults: {kind: linux, network-mode: none}
  nodes:
    r1:
    r2: {network-mode: "container:r1"}
    br|r1: {kind: bridge, network-mode: "container:r1"}
    sw: {kind: bridge}
    outside: {kind: host}
  links:
    - {endpoints: ["host:up0", "r1:eth1"]}
    - {endpoints: ["r1:eth2", "macvlan:up1"]}
    - {endpoints: ["sw:p1", "br|r1:p1"]}
    - {type: host, host-interface: up2, endpoint: {node: r2, interface: eth3}, mtu: 1400}
    - {type: vxlan, endpoint: {node: r1, interface: vx}, remote: 192.0.2.1, vni: 7, vars: {a: 1}}
    - {type: dummy, endpoint: {node: r1, interface: dm, ipv4: 10.0.0.1/24}}
"""


def test_every_kind_of_node_and_link() -> None:
    read = topology(FORMS)
    assert [(link.kind, str(link.a), str(link.b)) for link in read.links] == [
        ("host", "r1:eth1", "host:up0"),
        ("macvlan", "r1:eth2", "macvlan:up1"),
        ("veth", "sw:p1", "br|r1:p1"),
        ("host", "r2:eth3", "host:up2"),
        ("vxlan", "r1:vx", "vxlan:192.0.2.1"),
        ("dummy", "r1:dm", "dummy:"),
    ]
    assert read.links[4].options == {"vni": "7", "dst-port": "14789"}
    assert {name: read.place(name) for name in read.nodes} == {
        "r1": "r1",
        "r2": "r1",
        "br|r1": "r1",
        "sw": "sw",
        "outside": "host",
    }
    assert (read.nodes["br|r1"].bridge, read.nodes["sw"].bridge, read.nodes["r1"].bridge) == ("br", "sw", "")


def test_two_nodes_in_one_namespace_cannot_have_one_interface() -> None:
    assert errors(f"name: t\ntopology:{FORMS}    - {{endpoints: ['r2:eth2', 'sw:p2']}}\n") == [
        "t.yml:17:20: endpoint 'r2:eth2' is in one network namespace with 'r1:eth2' and has its name"
    ]


def test_what_does_nothing_here_is_noted_once() -> None:
    text = "name: t\nmgmt: {network: m}\ntopology:\n  defaults: {kind: linux, image: i, memory: 1G, position: x}\n"
    read = load(f"{text}  nodes: {{a: {{memory: 2G, mgmt-ipv4: 192.0.2.1}}, b: {{cmd: sh}}}}", "t.yml")
    assert read.notes == (
        "there is no management network here: no node has an eth0 (network-mode: none says the same)",
        "key 'memory' is ignored: nodes share the machine's memory without a limit",
        "images are not used here, nodes run on the machine's own root file system: "
        "a without cmd or entrypoint only sleep",
    )
    assert topology("  nodes: {a: {kind: linux, network-mode: none, restart-policy: always}}").notes == ()


def test_env_files_say_what_godotenv_reads() -> None:
    text = "# c\nA=1\nexport B='x y' # z\nC=\"a\\nb\"\nD: plain # no\nE=\n"
    assert dotenv.parse(text, "f") == {"A": "1", "B": "x y", "C": "a\nb", "D": "plain", "E": ""}
    with pytest.raises(ConfigError, match="f:2:1: 'what' is no variable: expected NAME=value"):
        dotenv.parse("A=1\nwhat", "f")
    assert node("env-files: [a, b]").env_files == ("a", "b")


def test_a_ring_of_waiting_nodes_is_named() -> None:
    nodes = "".join(
        f"    n{i}: {{kind: linux, stages: {{create: {{wait-for: [{{node: n{(i + 1) % 3}, stage: create}}]}}}}}}\n"
        for i in range(3)
    )
    assert errors(f"name: t\ntopology:\n  nodes:\n{nodes}") == [
        f"t.yml:{i + 4}:5: node 'n{i}' waits for itself, through wait-for on n{(i + 1) % 3}: the lab could never start"
        for i in range(3)
    ]


def test_no_key_is_both_supported_and_not() -> None:
    assert not UNSUPPORTED_NODE_KEYS & set(NODE_KEYS)
    assert "exec" in NODE_KEYS and "cap-add" in NODE_KEYS
