"""A table that changes its shape in the source: what its declaration and its capture make of that."""

import psycopg
import pytest

from include.ingestion.contracts import ContractError
from include.ingestion.pgoutput import CdcError
from include.lake.objects import read_bytes
from include.spec.source import Column
from tests.integration.cdc.capturing import CUSTOMERS, ORDERS

pytestmark = pytest.mark.integration

CITY = Column(name="city", type="string", nullable=True)
WITH_CITY = CUSTOMERS.model_copy(update={"columns": (*CUSTOMERS.columns, CITY)})
POLICIES = "evolve", "quarantine", "stop"


@pytest.fixture
def filled(shop):
    shop.execute("INSERT INTO customers SELECT n, 'c' || n, 'x' FROM generate_series(1, 5) n")
    shop.execute("INSERT INTO orders SELECT n, n, n FROM generate_series(1, 5) n")
    shop.run()
    return shop


def alter(shop, *statements):
    for statement in statements:
        shop.execute(statement)


ADDED = "ALTER TABLE customers ADD city text", "INSERT INTO customers VALUES (6, 'c6', 'x', 'Oslo')"


@pytest.mark.parametrize("policy", POLICIES)
def test_a_change_that_is_declared_goes_on_under_every_policy(filled, policy):
    filled.declare(on_schema_change=policy)
    alter(filled, *ADDED)
    filled.declare((WITH_CITY, ORDERS), on_schema_change=policy)
    filled.run()
    filled.execute("UPDATE customers SET city = 'Rome' WHERE id = 1")
    filled.run()
    found = filled.replica("customers")
    assert [found[number].get("city") for number in (1, 2, 6)] == ["Rome", None, "Oslo"]
    assert len(filled.files("customers")) == 3


def test_stop_names_table_place_change_and_remedy_and_moves_nothing(filled):
    head = filled.lake.head()
    filled.execute("INSERT INTO orders VALUES (6, 1, 1)")
    alter(filled, *ADDED)
    for _ in range(2):
        with pytest.raises(
            ContractError,
            match=r"database retail, table public\.customers, at [0-9A-F]+/[0-9A-F]+: was altered: 'city' "
            r"was added, and does not fit its declaration: column 'city' is not declared.*Accepted: a table "
            r"as declared; or on_schema_change=.*on_schema_change=stop",
        ):
            filled.run()
        assert filled.lake.head() == head
    filled.declare((WITH_CITY, ORDERS))
    filled.run()
    assert filled.replica("customers")[6]["city"] == "Oslo"
    assert 6 in filled.replica("orders")


def test_a_column_that_the_declaration_leaves_behind_is_no_reason_to_stop(filled):
    filled.declare((CUSTOMERS.model_copy(update={"undeclared_columns": "ignore"}), ORDERS))
    alter(filled, *ADDED)
    filled.run()
    assert filled.replica("customers")[6]["city"] == "Oslo"


@pytest.mark.parametrize(
    "statements",
    [
        ADDED,
        ("ALTER TABLE customers DROP story", "INSERT INTO customers VALUES (6, 'c6')"),
        ("ALTER TABLE orders ALTER amount TYPE numeric(14,3)", "INSERT INTO orders VALUES (6, 6, 1e10)"),
        ("ALTER TABLE orders ALTER customer TYPE bigint", "UPDATE orders SET customer = 3000000000"),
        ("ALTER TABLE customers REPLICA IDENTITY FULL", "UPDATE customers SET name = NULL"),
        ("ALTER TABLE customers ALTER name TYPE varchar(50)", "UPDATE customers SET name = 'x'"),
    ],
)
def test_evolve_lets_pass_what_readers_survive(filled, statements):
    filled.declare(on_schema_change="evolve")
    alter(filled, *statements)
    filled.run()
    for table in ("customers", "orders"):
        found, held = filled.replica(table), filled.held(table)
        assert found.keys() == held.keys()
        assert all({**dict.fromkeys(held[key]), **found[key]} == found[key] | held[key] for key in held)


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (
            ("ALTER TABLE customers RENAME name TO called", "DELETE FROM customers"),
            r"'name' was perhaps renamed to 'called'.*column 'name' is missing",
        ),
        (
            ("ALTER TABLE orders ALTER amount TYPE text", "INSERT INTO orders VALUES (6, 6, 'six')"),
            r"the type of 'amount' changed.*column 'amount' is text \(string\), declared is decimal\(10,2\)",
        ),
        (
            ("ALTER TABLE orders ALTER amount TYPE numeric(10,3)", "INSERT INTO orders VALUES (6, 6, 1.5)"),
            r"'amount' is numeric \(decimal128\(10, 3\)\)",
        ),
        (
            (
                "ALTER TABLE orders ADD code int NOT NULL DEFAULT 1",
                "CREATE UNIQUE INDEX by_code ON orders (id, code)",
                "ALTER TABLE orders DROP CONSTRAINT orders_pkey, ALTER id DROP NOT NULL, DROP id CASCADE",
                "ALTER TABLE orders ADD id bigint, ADD PRIMARY KEY (code)",
            ),
            None,
        ),
    ],
)
def test_evolve_stops_at_what_readers_do_not_survive(filled, statements, said):
    if said is None:
        filled.execute("DELETE FROM orders WHERE id > 1")
        filled.run()
        said = "old rows are not told by the key column 'id'"
        statements = (*statements, "INSERT INTO orders (id, code) VALUES (7, 7)")
    filled.declare(on_schema_change="evolve")
    head = filled.lake.head()
    alter(filled, *statements)
    with pytest.raises(ContractError, match=said + r".*Accepted: a column added"):
        filled.run()
    assert filled.lake.head() == head


def test_quarantine_puts_a_table_aside_in_order_and_brings_it_back_once_declared(filled):
    filled.declare(on_schema_change="quarantine")
    filled.execute("UPDATE customers SET name = 'before' WHERE id = 1")
    alter(filled, *ADDED)
    filled.execute("INSERT INTO orders VALUES (6, 6, 6)")
    captured = filled.run()
    assert dict(captured.tables) == {"raw/shop/customers": 1, "raw/shop/orders": 1}
    assert dict(captured.quarantined) == {"quarantine/shop/customers": 1}
    reason = read_bytes(filled.lake, filled.lake.head(), "quarantine/shop/customers/changes/_reason.json")
    assert b"column 'city' is not declared" in reason
    filled.execute("ALTER TABLE customers DROP city")  # fits again; what was put aside comes first
    filled.execute("UPDATE customers SET name = 'after' WHERE id = 6")
    captured = filled.run()
    assert dict(captured.quarantined) == {"quarantine/shop/customers": 1}
    assert 6 not in filled.replica("customers")
    filled.declare((WITH_CITY, ORDERS), on_schema_change="quarantine")
    filled.run()  # the last change lacks the column: a nullable one, but the policy is not to evolve
    assert len(filled.files("customers", "quarantine")) == 2
    filled.declare((WITH_CITY, ORDERS), on_schema_change="evolve")
    head = filled.lake.head()
    assert filled.run().changed
    assert filled.lake.head() != head
    assert filled.files("customers", "quarantine") == []
    assert filled.replica("customers")[6]["name"] == "after"
    assert [change["commit_lsn"] for change in filled.changes("customers")] == sorted(
        change["commit_lsn"] for change in filled.changes("customers")
    )
    filled.execute("UPDATE customers SET name = 'last' WHERE id = 6")
    filled.run()
    assert filled.replica("customers")[6]["name"] == "last"


@pytest.mark.parametrize("policy", POLICIES)
def test_the_first_load_needs_a_table_that_fits(shop, policy):
    shop.declare((WITH_CITY.model_copy(update={"columns": (*CUSTOMERS.columns, CITY.model_copy(
        update={"nullable": False})), }), ORDERS), on_schema_change=policy)  # fmt: skip
    with pytest.raises(ContractError, match="was found, and does not fit its declaration: column 'city' is"):
        shop.run()
    assert shop.positions() == ()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_table_that_loses_its_identity_stops_under_every_policy(filled, policy):
    filled.declare(on_schema_change=policy)
    filled.execute("ALTER TABLE orders REPLICA IDENTITY NOTHING")
    with pytest.raises(psycopg.Error, match="does not have a replica identity"):
        filled.execute("UPDATE orders SET amount = 2")
    filled.execute("INSERT INTO orders VALUES (6, 6, 6)")
    with pytest.raises(CdcError, match=r"public\.orders.*no replica identity.*REPLICA IDENTITY"):
        filled.run()


def test_a_table_of_the_publication_that_nobody_declared_stops_and_so_does_the_opposite(filled):
    filled.execute("CREATE TABLE returns (id int PRIMARY KEY)")
    filled.execute("ALTER PUBLICATION headrace_shop ADD TABLE returns")
    filled.run()
    filled.execute("INSERT INTO returns VALUES (1)")
    with pytest.raises(CdcError, match=r"public\.returns, which the capture does not declare"):
        filled.run()
    returns = ORDERS.model_copy(update={"name": "returns", "columns": ORDERS.columns[:1]})
    filled.declare((CUSTOMERS, ORDERS, returns))
    with pytest.raises(CdcError, match=r"public\.returns.*its rows were never loaded"):
        filled.run()
