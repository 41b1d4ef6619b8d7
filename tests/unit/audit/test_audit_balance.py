"""I1+: what commits tell of rows in, published and put apart, against itself and against what is held."""

import json

from include.audit.balance import check_held, check_logs, check_statements

ORDERS = "raw/shop/orders"


def a_commit(name: str, **tables: tuple[int, int, int]) -> dict:
    told = {f"raw/shop/{table}": dict(zip(("in", "published", "quarantined"), rows, strict=True))
            for table, rows in tables.items()}  # fmt: skip
    return {"id": name, "metadata": {"balance": json.dumps(told)} if told else {}}


CHAIN = [a_commit("c3", orders=(5, 4, 1)), a_commit("c2"), a_commit("c1", orders=(5, 3, 2), stores=(2, 2, 0))]


def test_statements_that_add_up_are_counted():
    checked = check_statements(CHAIN)
    assert (checked.count, checked.violations) == (3, ())


def test_a_statement_that_does_not_add_up_or_cannot_be_read_is_named():
    wrong = [
        a_commit("c5", orders=(5, 4, 0)),
        {"id": "c4", "metadata": {"balance": '{"raw/shop/orders": 5}'}},
    ]
    found = check_statements([*wrong, *CHAIN]).violations
    assert [violation.id for violation in found] == [f"c5#{ORDERS}", "c4"]
    assert "5 rows in, 4 published and 0 in quarantine" in found[0].what


def test_the_last_to_tell_of_a_table_is_held_to_what_is_there():
    held = {ORDERS: 4, "raw/shop/stores": 2, "raw/shop/other": 9}
    checked = check_held(CHAIN, held, {ORDERS: 1})
    assert (checked.count, checked.violations) == (2, ())


def test_a_row_that_vanished_from_either_place_is_found():
    lost = check_held(CHAIN, {ORDERS: 3, "raw/shop/stores": 2}, {ORDERS: 1}).violations
    assert [(one.id, one.what) for one in lost] == [(ORDERS, "4 rows were published, main holds 3 of them")]
    gone = check_held(CHAIN, {ORDERS: 4, "raw/shop/stores": 2}, {}).violations
    assert [one.what for one in gone] == ["1 rows were quarantined, main holds 0 of them"]


def test_a_quarantine_that_no_commit_tells_of_is_found():
    found = check_held([], {}, {ORDERS: 7}).violations
    assert [one.what for one in found] == ["7 rows are in quarantine, of which no commit tells"]


LOG = "raw/shop/orders/changes"


def a_window(name: str, rows: tuple[int, int, int], **more: int) -> dict:
    told = dict(zip(("in", "published", "quarantined"), rows, strict=True)) | more
    return {"id": name, "metadata": {"balance": json.dumps({LOG: told})}}


# Before its begin the log was another one, and after it three changes were held, of which two were released.
WINDOWS = [
    a_window("w4", (0, 2, -2)),
    a_window("w3", (7, 4, 3)),
    a_window("w2", (5, 5, 0), first=1),
    a_window("w1", (9, 9, 0)),
]


def test_what_commits_tell_of_a_change_log_is_summed_from_its_begin():
    assert check_statements(WINDOWS).violations == ()
    assert check_held(WINDOWS, {}, {}).count == 0, "it is no table that is held whole"
    checked = check_logs(WINDOWS, {LOG: 11}, {LOG: 1})
    assert (checked.count, checked.violations) == (1, ())


def test_a_change_that_vanished_or_came_back_unheard_is_found():
    lost = check_logs(WINDOWS, {LOG: 11}, {}).violations
    assert [(one.id, one.what) for one in lost] == [(LOG, "1 changes were quarantined, main holds 0 of them")]
    twice = check_logs(WINDOWS, {LOG: 12}, {LOG: 1}).violations
    assert [one.what for one in twice] == ["11 changes were published, main holds 12 of them"]


def test_of_a_log_that_nobody_told_the_begin_of_nothing_is_said():
    assert check_logs(WINDOWS[:2], {LOG: 100}, {LOG: 100}).count == 0
