"""Declarations of sources: what they accept, and how they say what is wrong."""

import pytest

from include.sources import SOURCES
from include.spec.declaration import DeclarationError
from include.spec.reads import DatabaseTable, Files
from include.spec.source import Column, Source, Table, UnknownTableError

SHOP = DatabaseTable(dsn="shop_dsn")


def a_table(**changes) -> Table:
    fields = {
        "name": "orders",
        "description": "One order.",
        "read": SHOP,
        "columns": (Column(name="id", type="int64"),),
    }
    return Table(**{**fields, **changes})


def test_the_retail_source_declares_its_eight_tables():
    (retail,) = [source for source in SOURCES if source.name == "retail"]
    assert {table.name for table in retail.tables} == {
        *("transactions", "promotions", "products", "coupons", "campaigns", "demographics"),
        *("campaign_descriptions", "coupon_redemptions"),
    }
    assert retail.origins == ("retail", "landing/retail/promotions")
    assert [table.name for table in retail.tables_of("landing/retail/promotions")] == ["promotions"]
    assert len(retail.tables_of("retail")) == 7
    assert retail.prefix("transactions") == "raw/retail/transactions"


def test_every_retail_table_has_a_key():
    assert [table.name for source in SOURCES for table in source.tables if not table.key] == []


def test_a_declaration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        a_table().name = "other"


@pytest.mark.parametrize(
    "kind", ["int31", "decimal", "decimal(39,2)", "decimal(4,5)", "decimal(4, 2)", "String", ""]
)
def test_a_type_that_the_lake_does_not_have_is_refused_with_those_it_has(kind):
    with pytest.raises(DeclarationError) as caught:
        Column(name="price", type=kind)
    said = str(caught.value)
    assert "test_source_declarations.py" in said
    assert "price" in said
    assert "int32" in said
    assert "decimal(p,s)" in said


@pytest.mark.parametrize(
    ("kind", "expected"), [("decimal(10,2)", (10, 2)), ("decimal(38,38)", (38, 38)), ("int64", None)]
)
def test_precision_and_scale_of_a_decimal(kind, expected):
    assert Column(name="price", type=kind).decimal == expected


@pytest.mark.parametrize("name", ["Orders", "1st", "raw/orders", "..", "a b", "", "x" * 64, "naïve"])
def test_a_name_that_is_no_identifier_is_refused(name):
    with pytest.raises(DeclarationError, match="name"):
        a_table(name=name)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"key": ("nope",)}, "key names nope"),
        ({"time_column": "nope"}, "time_column names nope"),
        ({"columns": ()}, "columns"),
        (
            {"columns": (Column(name="id", type="int64"), Column(name="id", type="int32"))},
            "declared twice: id",
        ),
        ({"columns": (Column(name="id", type="int64", nullable=True),), "key": ("id",)}, "nullable: id"),
        ({"colour": "red"}, "colour"),
        ({"may_be_empty": "yes"}, "may_be_empty"),
        ({"description": ""}, "description"),
        ({"undeclared_columns": "keep"}, "undeclared_columns"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused_by_file_and_field(changes, field):
    with pytest.raises(DeclarationError) as caught:
        a_table(**changes)
    assert field in str(caught.value)
    assert "test_source_declarations.py:" in str(caught.value)


@pytest.mark.parametrize(
    "pattern", ["/etc/*.csv", "../other/*.csv", "a/../../b/*.csv", "s3://other/*.csv", ""]
)
def test_files_stay_in_their_bucket(pattern):
    with pytest.raises(DeclarationError, match="pattern"):
        Files(bucket="landing_bucket", pattern=pattern, format="csv")


def test_an_unknown_table_is_refused_with_those_that_are_known():
    source = Source(name="shop", owner="a@b.example", description="A shop.", tables=(a_table(),))
    with pytest.raises(UnknownTableError, match=r"declares no table 'order'.*declares: orders"):
        source.table("order")


def test_two_tables_of_one_name_are_refused():
    with pytest.raises(DeclarationError, match="tables declared twice: orders"):
        Source(name="shop", owner="a@b.example", description="A shop.", tables=(a_table(), a_table()))


def test_the_contract_hash_follows_what_decides_the_bytes_and_nothing_else():
    table = a_table()
    same = a_table(description="Another word.", may_be_empty=True, time_column=None)
    assert same.contract_hash == table.contract_hash
    others = [
        a_table(columns=(Column(name="id", type="int32"),)),
        a_table(columns=(Column(name="id", type="int64", nullable=True),)),
        a_table(columns=(Column(name="no", type="int64"),)),
        a_table(key=("id",)),
    ]
    assert len({table.contract_hash, *(other.contract_hash for other in others)}) == 5
