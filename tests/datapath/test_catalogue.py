"""Every id of the packet catalogue is a row, or says which test holds it, or says what is open; and none says two."""

import ast
from pathlib import Path

import pytest

from tests.datapath import rows
from tests.datapath.catalogue import ELSEWHERE, IDS, OPEN, PARTLY

TESTS = Path(__file__).parents[1]
HERE = {one for row in (*rows.FORWARD, *rows.DECAP) for one in row.ids.split()}


def test_the_catalogue_has_its_187_rows_and_ten_invariants() -> None:
    assert len(IDS) == len(set(IDS)) == 187 + 10


def test_every_id_is_a_row_or_says_where_it_is() -> None:
    assert [one for one in IDS if one not in HERE and one not in ELSEWHERE] == []
    assert sorted(HERE - set(IDS)) == []
    assert sorted(HERE & ELSEWHERE.keys()) == []


def test_what_is_nowhere_is_open_and_says_why() -> None:
    assert {one for one, tests in ELSEWHERE.items() if not tests} == OPEN.keys()
    assert all(len(text) > 40 for text in OPEN.values())


def test_what_is_held_in_part_is_a_row_and_says_what_is_missing() -> None:
    assert PARTLY.keys() <= HERE
    assert all(len(text) > 40 for text in PARTLY.values())


@pytest.mark.parametrize("named", sorted({test for tests in ELSEWHERE.values() for test in tests}))
def test_a_test_that_is_named_exists(named: str) -> None:
    path, function = named.split("::")
    tree = ast.parse((TESTS / path).read_text())
    assert function in {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_rows_have_names_of_their_own() -> None:
    for table in (rows.FORWARD, rows.DECAP):
        names = [(row.name, row.world) for row in table]
        assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
