"""The demo's data: whole households and weeks of the real tables, in the types that are declared."""

import gzip
from collections import Counter
from decimal import Decimal

import pyarrow as pa
import pytest

from include.demo import complete_journey
from include.demo.complete_journey import WHOLE, Slice
from include.demo.landing import _weeks, weekly_file
from include.ingestion.contracts import arrow_schema
from include.ingestion.sieve import Origin, Sieve
from include.sources.retail import COUPONS, DEMOGRAPHICS, PRODUCTS, PROMOTIONS, SOURCE, TRANSACTIONS
from include.spec.source import Table


def read(table: Table, part: Slice = WHOLE) -> pa.Table:
    schema = arrow_schema(table)
    return pa.Table.from_batches(complete_journey.read(table.name, schema, part), schema=schema)


def test_the_package_has_every_declared_table_and_no_other():
    assert set(complete_journey.TABLES) == {table.name for table in SOURCE.tables}


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        *(("transactions", 1_469_307), ("products", 92_331), ("coupons", 116_204), ("campaigns", 6_589)),
        *(("demographics", 801), ("campaign_descriptions", 27), ("coupon_redemptions", 2_102)),
    ],
)
def test_tables_are_whole_typed_and_keyed(name, rows):
    table = SOURCE.table(name)
    found = read(table)
    assert found.num_rows == rows
    assert found.schema == arrow_schema(table)
    assert found.select(list(table.key)).group_by(list(table.key)).aggregate([]).num_rows == rows


@pytest.mark.parametrize(
    ("name", "published", "apart"),
    [
        (
            "transactions",
            1_460_406,
            {
                "range(quantity), references(product_id)": 4_804,
                "range(quantity)": 4_065,
                "references(product_id)": 32,
            },
        ),
        ("coupons", 116_188, {"references(product_id)": 16}),
    ],
)
def test_rows_with_the_defects_of_the_real_data_go_apart(name, published, apart, tmp_path):
    known = {("products", "product_id"): read(PRODUCTS)["product_id"].combine_chunks()}
    table = SOURCE.table(name)
    sieve = Sieve(table, tmp_path, known=known)
    batches = read(table).combine_chunks().to_batches()
    assert sum(batch.num_rows for batch in sieve.passed(batches, Origin("", name, "0.parquet"))) == published
    assert Counter(row["rule"] for row in sieve.rows_here()) == apart


def test_money_is_exact():
    part = Slice(households=20)
    values = read(TRANSACTIONS, part).column("sales_value").to_pylist()
    doubles = pa.schema([("sales_value", pa.float64())])
    cents = [
        round(Decimal(value), 2)
        for batch in complete_journey.read("transactions", doubles, part)
        for value in batch.column(0).to_pylist()
    ]
    assert values == cents
    assert Decimal("0.99") in values


def test_a_slice_is_of_whole_households():
    part = Slice(households=50)
    sliced = read(TRANSACTIONS, part)
    households = set(sliced.column("household_id").to_pylist())
    assert households
    assert max(households) <= 50
    whole = read(TRANSACTIONS)
    assert sliced.num_rows == sum(1 for h in whole.column("household_id").to_pylist() if h <= 50)
    assert set(read(DEMOGRAPHICS, part).column("household_id").to_pylist()) <= set(range(1, 51))


def test_lines_of_coupons_are_numbered_in_order():
    assert read(COUPONS).column("coupon_line_id").to_pylist() == list(range(1, 116_205))


def test_weeks_come_one_by_one_and_whole():
    weeks = list(_weeks(Slice(weeks=2)))
    assert [(week, table.num_rows) for week, table in weeks] == [(1, 386_086), (2, 355_244)]
    assert all(set(table.column("week").to_pylist()) == {week} for week, table in weeks)


def test_a_weekly_file_is_csv_and_the_same_rows_are_the_same_bytes():
    ((_, table),) = _weeks(Slice(weeks=1))
    head = table.slice(0, 3)
    data = weekly_file(head)
    assert data == weekly_file(head)
    assert data[4:8] == bytes(4), "a time is in the header of the gzip"
    lines = gzip.decompress(data).decode().splitlines()
    assert lines[0].replace('"', "").split(",") == [column.name for column in PROMOTIONS.columns]
    assert lines[1].replace('"', "") == "1000050,316,9,0,1"


@pytest.mark.parametrize("part", [WHOLE, Slice(households=5), Slice(weeks=2), Slice(5, 2)])
def test_the_name_of_a_slice_fits_a_run_id_and_a_file(part):
    import re

    assert re.fullmatch(r"[A-Za-z0-9_.~:+-]+", part.name)


def test_slices_that_differ_have_names_that_differ():
    parts = [WHOLE, Slice(households=5), Slice(weeks=5), Slice(5, 5), Slice(50, 5)]
    assert len({part.name for part in parts}) == len(parts)
