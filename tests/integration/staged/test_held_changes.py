"""Staged tables of a log without its held changes, and after they came back."""

import pytest

from tests.integration.cdc.ruled import RULED, ids_of, insert, take_out
from tests.integration.staged.staging import plain, stage, stored

pytestmark = pytest.mark.integration


def test_a_held_change_leaves_the_row_as_it_was_and_one_that_came_back_changes_its_history(shop, spark):
    shop.execute("ALTER TABLE customers ADD age int")
    for key in range(4):
        insert(shop, key, 1)
    shop.declare(RULED)
    shop.run()
    stage(shop.lake, shop.settings, shop.source, "customers", spark)
    insert(shop, 9, -1)
    shop.execute("UPDATE customers SET age = -1 WHERE id = 0")
    # With its story, which is not sent again: it is where it was under the old key.
    shop.execute("UPDATE customers SET id = 10, age = -1 WHERE id = 1")
    shop.execute("UPDATE customers SET id = 20, age = -1 WHERE id = 2")
    shop.execute("DELETE FROM customers WHERE id = 20")
    shop.run()
    assert stage(shop.lake, shop.settings, shop.source, "customers", spark).mode == "forward"
    current = {row["id"]: row["age"] for row in stored(shop.lake, "staged/shop/customers")}
    assert current == {0: 1, 3: 1}
    assert take_out(shop, ids_of(shop)) == 4
    assert stage(shop.lake, shop.settings, shop.source, "customers", spark).mode == "all"
    rows = {row["id"]: row for row in plain(stored(shop.lake, "staged/shop/customers"))}
    assert rows == shop.held("customers")
    assert rows.keys() == {0, 3, 9, 10}
    history = stored(shop.lake, "staged/shop/customers__history")
    assert sorted((row["id"], row["age"], row["valid_to"] is None) for row in history) == [
        (0, -1, True), (0, 1, False), (1, 1, False), (2, 1, False), (3, 1, True), (9, -1, True),
        (10, -1, True), (20, -1, False),
    ]  # fmt: skip
