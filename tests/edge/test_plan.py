"""From configuration, health and intent to what the forwarder is told."""

from ipaddress import IPv4Address

from edge.config.file import Config, load
from edge.decide.plan import PoolView, Tables, backend_ids, forwarder_state, select
from tests.edge.test_config import GOOD

THREE = "[{name: b1, address: 10.0.9.1}, {name: b2, address: 10.0.9.2, weight: 2}, {name: b3, address: 10.0.9.3}]"


def config() -> Config:
    return load(GOOD.replace("[{name: a-b1, address: 10.0.9.1}]", THREE), "f.yaml")


def weights(view: PoolView) -> dict[str, int]:
    return {member.key: member.weight for member in select(config().pools["web"], view).members}


def test_a_healthy_pool_uses_every_backend_by_weight() -> None:
    assert weights(PoolView()) == {"10.0.9.1": 1, "10.0.9.2": 2, "10.0.9.3": 1}


def test_down_and_drained_backends_get_no_slots() -> None:
    view = PoolView(down=frozenset({"b1"}), drained=frozenset({"b2"}))
    assert weights(view) == {"10.0.9.1": 0, "10.0.9.2": 0, "10.0.9.3": 1}


def test_when_all_look_down_all_that_are_not_drained_are_used() -> None:
    selection = select(config().pools["web"], PoolView(frozenset({"b1", "b2", "b3"}), frozenset({"b3"})))
    assert selection.panic
    assert {member.key for member in selection.members if member.weight} == {"10.0.9.1", "10.0.9.2"}


def test_a_panic_with_nobody_willing_leaves_an_empty_table() -> None:
    everybody = frozenset({"b1", "b2", "b3"})
    selection = select(config().pools["web"], PoolView(drained=everybody))
    table = Tables(101).table(selection.members)
    assert {table.owner(slot) for slot in range(101)} == {None}


def test_ids_come_from_the_file_and_slots_name_them() -> None:
    cfg = config()
    table = Tables(101).table(select(cfg.pools["web"], PoolView(down=frozenset({"b1"}))).members)
    state = forwarder_state(cfg, {"web": table}, {}, frozenset(), generation=3)
    ids = backend_ids(cfg)
    assert ids == {("web", "b1"): 1, ("web", "b2"): 2, ("web", "b3"): 3}
    assert set(state.pools[0].slots) == {2, 3}
    by_id = {backend.id: str(backend.address) for backend in state.backends}
    assert [by_id[owner] for owner in state.pools[0].slots] == [table.owner(slot) for slot in range(101)]


def test_no_client_can_have_an_address_of_the_infrastructure() -> None:
    cfg = config()
    table = Tables(101).table(select(cfg.pools["web"], PoolView()).members)
    state = forwarder_state(cfg, {"web": table}, {}, frozenset(), generation=1)
    assert {IPv4Address("10.0.5.1"), IPv4Address("10.0.9.2")} <= state.infrastructure


def test_a_table_is_built_once_for_each_membership() -> None:
    tables = Tables(101)
    members = select(config().pools["web"], PoolView()).members
    assert tables.table(members) is tables.table(tuple(members))
