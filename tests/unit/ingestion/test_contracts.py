"""What arrives is held to the declaration: a violation is one error with file, field and what is right."""

from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from include.ingestion import contracts
from include.ingestion.contracts import ContractError
from include.spec.reads import DatabaseTable
from include.spec.source import Column, Table

TABLE = Table(
    name="orders",
    description="One order.",
    read=DatabaseTable(dsn="shop_dsn"),
    key=("id",),
    columns=(
        Column(name="id", type="int32"),
        Column(name="price", type="decimal(10,2)"),
        Column(name="at", type="timestamp", nullable=True),
    ),
)
SCHEMA = contracts.arrow_schema(TABLE)
FILE = "s3://landing/orders.csv"


def a_batch(**changes) -> pa.RecordBatch:
    columns = {
        "id": pa.array([1, 2], pa.int32()),
        "price": pa.array([Decimal("1.50"), Decimal("2.00")], pa.decimal128(10, 2)),
        "at": pa.array([datetime(2017, 1, 1), None], pa.timestamp("us")),
    }
    return pa.RecordBatch.from_pydict({**columns, **changes})


def test_the_schema_is_the_declaration_in_arrows_words():
    assert SCHEMA.types == [pa.int32(), pa.decimal128(10, 2), pa.timestamp("us")]
    assert [field.nullable for field in SCHEMA] == [False, False, True]


def test_what_conforms_passes_unchanged_whatever_the_order_of_its_columns():
    batch = a_batch()
    turned = batch.select(["at", "price", "id"])
    assert contracts.conform(TABLE, SCHEMA, turned, FILE).equals(
        contracts.conform(TABLE, SCHEMA, batch, FILE)
    )
    assert contracts.conform(TABLE, SCHEMA, batch, FILE).to_pydict() == batch.to_pydict()


def test_a_finer_time_passes_where_nothing_is_lost():
    at = pa.array([1_000, None], pa.timestamp("ns"))
    assert contracts.conform(TABLE, SCHEMA, a_batch(at=at), FILE).column("at").type == pa.timestamp("us")


@pytest.mark.parametrize(
    ("changes", "field", "accepted"),
    [
        ({"id": pa.array([1, 2**40], pa.int64())}, "'id'", "int32"),
        ({"at": pa.array([1, None], pa.timestamp("ns"))}, "'at'", "timestamp"),
        ({"id": pa.array(["1", "two"])}, "'id'", "int32"),
        ({"id": pa.array([1, None], pa.int32())}, "'id'", "a value in every row"),
    ],
)
def test_a_value_that_does_not_fit_is_one_error_with_file_field_and_what_is_accepted(
    changes, field, accepted
):
    with pytest.raises(ContractError) as caught:
        contracts.conform(TABLE, SCHEMA, a_batch(**changes), FILE)
    said = str(caught.value)
    assert said.startswith(f"{FILE}: column {field}")
    assert f"Accepted: {accepted}" in said
    assert "Nothing was published" in said


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["id", "at"], "column 'price' is missing"),
        (["id", "price", "at", "at"], "column 'at' is there twice"),
        (["id", "price", "at", "colour"], "column 'colour' is not declared"),
        ([], "column 'id', 'price', 'at' is missing"),
    ],
)
def test_other_columns_than_declared_are_refused(names, what):
    with pytest.raises(ContractError, match=f"{FILE}: {what}"):
        contracts.check_names(TABLE, names, FILE)


def test_undeclared_columns_are_left_behind_only_where_the_declaration_says_so():
    lenient = TABLE.model_copy(update={"undeclared_columns": "ignore"})
    contracts.check_names(lenient, ["id", "price", "at", "colour"], FILE)
    wider = a_batch(colour=pa.array(["red", "blue"]))
    assert contracts.conform(lenient, SCHEMA, wider, FILE).schema.names == ["id", "price", "at"]


def test_a_type_that_changed_is_refused_in_the_sources_own_words():
    actual = {"id": "bigint", "price": "numeric(10,2)", "at": "date"}
    accepted = {"id": ("bigint",), "price": ("numeric(10,2)",), "at": ("timestamp without time zone",)}
    with pytest.raises(
        ContractError, match=r"column 'at' is date, declared is timestamp. Accepted: timestamp without"
    ):
        contracts.check_types(TABLE, actual, accepted, FILE)


def test_an_empty_table_is_refused_unless_the_declaration_allows_it():
    with pytest.raises(ContractError, match="holds no rows"):
        contracts.check_rows(TABLE, 0, FILE)
    contracts.check_rows(TABLE, 1, FILE)
    contracts.check_rows(TABLE.model_copy(update={"may_be_empty": True}), 0, FILE)
