"""Captured changes held to the rules of their table: what is held, what is not lost, the way back."""

from typing import Any

import pytest

from include.ingestion.contracts import ContractError
from include.ingestion.release import ReleaseError
from include.spec.contract import Range
from include.spec.source import Column
from tests.integration.cdc.capturing import CUSTOMERS, ORDERS, Shop
from tests.integration.cdc.ruled import LONG, PEOPLE, RULED, held, ids_of, insert, staged, take_out

pytestmark = pytest.mark.integration


def slot_of(shop: Shop) -> Any:
    told = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'headrace_shop'"
    return shop.execute(told).fetchone()


def test_a_change_that_breaks_a_rule_is_held_and_the_others_go_on(ruled):
    insert(ruled, 1, 5)
    insert(ruled, 2, -5)
    ruled.execute("UPDATE customers SET age = 200, name = 'NO' WHERE id = 0")
    insert(ruled, 3, 7)
    captured = ruled.run()
    assert staged(ruled).keys() == {0, 1, 3}
    assert staged(ruled)[0]["age"] == 1, "as it was before"
    found = held(ruled)
    assert [(one["operation"], one["row"]["id"], one["rule"]) for one in found] == [
        ("insert", 2, "range(age)"),
        ("update", 0, "range(age), matches(name)"),
    ]
    assert found[0]["reason"] == "age must be 0 to 150"
    for one in found:
        high, low = one["origin"].split("/")
        assert int(high, 16) << 32 | int(low, 16) == one["commit_lsn"]
        assert (one["sequence"], one["transaction_id"] > 0, one["needs"]) == (0, True, [])
    assert captured.rows == 4
    (logged,) = [one for one in captured.logged if one.table == "raw/shop/customers/changes"]
    assert (logged.rows_in, logged.rows, logged.quarantined) == (4, 2, 2)


def test_a_later_change_that_keeps_the_rules_heals_the_row(ruled):
    insert(ruled, 1, -1, "'short'")
    ruled.run()
    assert 1 not in staged(ruled)
    ruled.execute("UPDATE customers SET age = 1 WHERE id = 1")
    ruled.run()
    assert staged(ruled) == ruled.held("customers")
    assert len(held(ruled)) == 1


def test_rows_that_the_capture_begins_with_are_judged_too(shop):
    shop.execute("ALTER TABLE customers ADD age int")
    shop.execute("INSERT INTO customers SELECT n, 'n', 'x', n - 1 FROM generate_series(0, 19) n")
    shop.declare(RULED)
    captured = shop.run()
    assert staged(shop).keys() == set(range(1, 20))
    (one,) = held(shop)
    assert (one["operation"], one["row"]["id"], one["sequence"]) == ("read", 0, None)
    assert [(of.rows_in, of.rows, of.quarantined, of.first) for of in captured.logged] == [
        (20, 19, 1, True),
        (0, 0, 0, True),
    ]


def test_too_many_rows_that_break_a_rule_at_the_begin_are_refused(shop):
    shop.execute("ALTER TABLE customers ADD age int")
    shop.execute("INSERT INTO customers SELECT n, 'n', 'x', n - 9 FROM generate_series(0, 19) n")
    shop.declare(RULED)
    head = shop.lake.head()
    with pytest.raises(ContractError, match=r"9 of 20 rows break the contract.*at most 10%"):
        shop.run()
    assert shop.lake.head() == head


def test_refuse_names_table_place_column_and_what_is_accepted_and_moves_nothing(ruled):
    ruled.declare((PEOPLE.model_copy(update={"on_violation": "refuse"}), ORDERS))
    insert(ruled, 1, 5)
    ruled.run()
    head, slot = ruled.lake.head(), slot_of(ruled)
    ruled.execute("INSERT INTO orders VALUES (1, 1, 1)")
    insert(ruled, 2, -77)
    for _ in range(2):
        with pytest.raises(
            ContractError,
            match=r"database retail, table public\.customers, at [0-9A-F]+/[0-9A-F]+: the row of the insert "
            r"breaks range\(age\); age is int4\. Accepted: age must be 0 to 150\. .*table=customers",
        ) as refused:
            ruled.run()
        assert "-77" not in str(refused.value)
        assert ruled.lake.head() == head
    assert slot_of(ruled) == slot
    ruled.declare(RULED)
    ruled.run()
    assert len(held(ruled)) == 1
    assert ruled.replica("orders") == ruled.held("orders")


def test_a_row_that_gets_another_key_and_breaks_a_rule_leaves_no_ghost_behind(ruled):
    insert(ruled, 1, 1)
    ruled.run()
    ruled.execute("UPDATE customers SET id = 2, age = -2 WHERE id = 1")
    ruled.run()
    assert staged(ruled).keys() == {0}, "the old key is gone, and the new one is held"
    ruled.execute("DELETE FROM customers WHERE id = 2")
    ruled.run()
    assert staged(ruled) == ruled.held("customers")
    assert take_out(ruled, ids_of(ruled)) == 1
    ruled.check()
    assert [one["operation"] for one in ruled.changes("customers")] == ["read", "insert", "update", "delete"]


def test_deletes_and_truncates_of_held_rows_pass(ruled):
    insert(ruled, 1, -1)
    insert(ruled, 2, -1)
    ruled.run()
    ruled.execute("DELETE FROM customers WHERE id = 1")
    ruled.run()
    assert staged(ruled).keys() == {0}
    ruled.execute("TRUNCATE customers")
    insert(ruled, 2, 3)
    ruled.execute("UPDATE customers SET name = 'm' WHERE id = 2")
    ruled.run()
    assert staged(ruled) == ruled.held("customers")
    assert len(held(ruled)) == 2


def test_a_value_that_only_a_held_change_tells_is_not_lost(ruled):
    insert(ruled, 1, 1)
    ruled.run()
    insert(ruled, 2, -2)
    ruled.execute(f"UPDATE customers SET age = -1, story = {LONG} WHERE id = 1")
    ruled.run()
    ruled.execute("UPDATE customers SET age = 10 + id WHERE id > 0")
    ruled.execute("UPDATE customers SET id = 3 WHERE id = 2")
    ruled.run()
    assert [(one["operation"], one["row"]["id"], one["rule"], len(one["needs"])) for one in held(ruled)] == [
        ("insert", 2, "range(age)", 0),
        ("update", 1, "range(age)", 0),
        ("update", 1, "unchanged(story)", 1),
        ("update", 2, "unchanged(story)", 1),
        ("update", 3, "unchanged(story)", 1),
    ]
    waiting = {one["id"] for one in held(ruled) if one["needs"]}
    with pytest.raises(
        ReleaseError, match=r"leave out values that only others tell.*Release these, too: --row"
    ):
        take_out(ruled, waiting)
    ruled.execute(f"UPDATE customers SET story = {LONG} WHERE id = 1")
    ruled.execute("UPDATE customers SET name = 'heals' WHERE id = 1")
    ruled.run()
    assert staged(ruled)[1] == ruled.held("customers")[1]
    assert take_out(ruled) == 0, "what waits for others is not brought back before them"
    assert take_out(ruled, rule="range(age)") == 2
    assert take_out(ruled) == 3
    assert (held(ruled), ids_of(ruled)) == ([], set())
    ruled.check()


def test_a_value_that_its_type_cannot_hold_keeps_no_rule_and_one_that_is_left_out_keeps_all(shop):
    columns = (*ORDERS.columns, Column(name="note", type="string"))
    rules = (Range(column="amount", maximum=10),)
    table = ORDERS.model_copy(
        update={"columns": columns, "rules": rules, "on_violation": "quarantine", "key": ("id",)}
    )
    shop.declare((CUSTOMERS, table))
    shop.execute("ALTER TABLE orders ADD note text")
    shop.execute(f"INSERT INTO orders VALUES (1, 1, 1, {LONG})")
    shop.run()
    shop.execute("INSERT INTO orders VALUES (2, 1, 'NaN', 'x'), (3, 1, 3, NULL), (4, 1, NULL, 'x')")
    shop.execute("UPDATE orders SET amount = 2 WHERE id = 1")
    shop.run()
    assert [(one["row"]["id"], one["rule"]) for one in held(shop, "orders")] == [
        (2, "range(amount)"),
        (3, "not_null(note)"),
    ]
    assert staged(shop, "orders").keys() == {1, 4}


def test_changes_that_were_put_aside_with_their_shape_are_judged_as_they_come_back(ruled):
    ruled.declare(RULED, on_schema_change="quarantine")
    insert(ruled, 1, 5)
    ruled.execute("ALTER TABLE customers ADD city text")
    ruled.execute("INSERT INTO customers VALUES (2, 'n', 'x', 5, 'Oslo'), (3, 'n', 'x', -5, 'Oslo')")
    ruled.run()
    assert staged(ruled).keys() == {0, 1}
    assert held(ruled) == []
    city = Column(name="city", type="string", nullable=True)
    ruled.declare(
        (PEOPLE.model_copy(update={"columns": (*PEOPLE.columns, city)}), ORDERS),
        on_schema_change="quarantine",
    )
    (logged,) = ruled.run().logged
    assert (logged.rows_in, logged.rows, logged.quarantined) == (0, 1, -1)
    assert staged(ruled).keys() == {0, 1, 2}, "that of the same window which fitted is there still"
    assert [one["row"]["id"] for one in held(ruled)] == [3]
    assert take_out(ruled, ids_of(ruled)) == 1
    assert [change["row"]["id"] for change in ruled.changes("customers")] == [0, 1, 2, 3]
    assert ruled.replica("customers").keys() == ruled.held("customers").keys()
