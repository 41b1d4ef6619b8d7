"""Contracts as they are declared: what a rule may be about, and what tables may refer to."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from include.spec.contract import Matches, OneOf, Range, References
from include.spec.declaration import DeclarationError
from include.spec.reads import DatabaseTable, Files, Incremental
from include.spec.source import Column, Source, Table

SHOP = DatabaseTable(dsn="retail_dsn")
COLUMNS = (
    Column(name="id", type="int64"),
    Column(name="product_id", type="int32"),
    Column(name="name", type="string", nullable=True),
    Column(name="price", type="decimal(6,2)"),
    Column(name="sold_at", type="timestamptz"),
    Column(name="day", type="date"),
)


def a_table(**changes) -> Table:
    fields: dict[str, Any] = {
        "name": "orders",
        "description": "One order.",
        "read": SHOP,
        "columns": COLUMNS,
        "key": ("id",),
    } | changes
    return Table(**fields)


def products(**changes) -> Table:
    fields: dict[str, Any] = {
        "name": "products",
        "columns": (Column(name="product_id", type="int32"), Column(name="order_id", type="int64")),
        "key": ("product_id",),
    } | changes
    return a_table(**fields)


def a_source(*tables: Table) -> Source:
    return Source(name="shop", owner="a@b.example", description="A shop.", tables=tables)


def test_each_rule_has_a_name_and_says_what_it_accepts():
    rules = (
        Range(column="id", minimum=1),
        Range(column="price", minimum=0, maximum=Decimal("9.50")),
        OneOf(column="name", values=("a", "b")),
        Matches(column="name", pattern="[a-z]+"),
        References(column="product_id", table="products"),
    )
    assert [(rule.name, rule.accepted) for rule in a_table(rules=rules).rules] == [
        ("range(id)", "1 or more"),
        ("range(price)", "0 to 9.50"),
        ("one_of(name)", "'a', 'b'"),
        ("matches(name)", "text that matches [a-z]+"),
        ("references(product_id)", "a value of products.product_id"),
    ]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Range(column="size", minimum=1), "range\\(size\\): declared columns are id, product_id"),
        (Range(column="id", minimum=0.5), "bounds of the column's type, which is int64"),
        (Range(column="sold_at", minimum=datetime(2020, 1, 1)), "which is timestamptz"),
        (Range(column="day", minimum=datetime(2020, 1, 1, tzinfo=UTC)), "which is date"),
        (Range(column="name", minimum=1), "which is string"),
        (OneOf(column="id", values=("1",)), "which is int64"),
        (OneOf(column="price", values=(1,)), r"which is decimal\(6,2\)"),
        (Matches(column="id", pattern="1+"), "is for text, and the column is int64"),
    ],
)
def test_a_rule_that_cannot_be_asked_of_its_column_is_refused(rule, said):
    with pytest.raises(DeclarationError, match=said):
        a_table(rules=(rule,))


def test_a_range_has_a_bound_and_a_pattern_is_one_that_re2_knows():
    assert a_table(rules=(Range(column="day", minimum=date(2020, 1, 1)),)).rules
    with pytest.raises(DeclarationError, match="minimum or a maximum"):
        Range(column="id")
    for pattern in ("(", "(?=a)b", r"(a)\1"):
        with pytest.raises(DeclarationError, match="pattern"):
            Matches(column="name", pattern=pattern)


def test_two_rules_of_one_kind_about_one_column_are_refused():
    with pytest.raises(DeclarationError, match="two rules of one kind"):
        a_table(rules=(Range(column="id", minimum=1), Range(column="id", maximum=9)))


def test_rules_count_in_the_contract_and_not_in_the_form_of_a_row():
    plain = a_table()
    ruled = [
        a_table(rules=(Range(column="id", minimum=1),)),
        a_table(rules=(Range(column="id", minimum=2),)),
        a_table(on_violation="quarantine"),
    ]
    assert plain.contract_hash == plain.schema_hash
    assert len({plain.contract_hash, *(table.contract_hash for table in ruled)}) == 4
    assert {table.schema_hash for table in ruled} == {plain.schema_hash}


def test_tables_are_read_after_those_that_they_refer_to():
    lines = a_table(name="lines", rules=(References(column="id", table="orders"),))
    orders = a_table(rules=(References(column="product_id", table="products"),))
    source = a_source(lines, orders, products(), a_table(name="stores"))
    assert [[table.name for table in wave] for wave in source.waves()] == [
        ["products", "stores"],
        ["orders"],
        ["lines"],
    ]
    assert source.waves("retail") == source.waves()


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ((a_table(rules=(References(column="product_id", table="wares"),)),), "declared tables are orders"),
        (
            (a_table(rules=(References(column="product_id", table="products", to="order_id"),)), products()),
            "products.order_id is int64, and product_id is int32",
        ),
        (
            (a_table(rules=(References(column="product_id", table="products", to="no"),)), products()),
            "products.no is not declared",
        ),
        (
            (
                a_table(rules=(References(column="product_id", table="products"),)),
                products(read=Files(bucket="landing_bucket", pattern="p/*.csv", format="csv")),
            ),
            "is read elsewhere",
        ),
        (
            (
                a_table(rules=(References(column="product_id", table="products"),)),
                products(rules=(References(column="order_id", table="orders", to="id"),)),
            ),
            "in a circle: orders, products",
        ),
        ((a_table(rules=(References(column="id", table="orders"),)),), "in a circle: orders"),
    ],
)
def test_a_reference_that_cannot_be_held_is_refused(tables, said):
    with pytest.raises(DeclarationError, match=said):
        a_source(*tables)


def test_rows_are_not_put_apart_from_an_incremental_table():
    read = DatabaseTable(dsn="retail_dsn", incremental=Incremental(cursor="id"))
    assert a_table(read=read, rules=(Range(column="id", minimum=1),)).rules
    with pytest.raises(DeclarationError, match="not incremental or by REST"):
        a_table(read=read, on_violation="quarantine")
