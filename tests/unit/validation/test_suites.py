"""Suites as files: each table has one, each is sound, and a broken one says where."""

import json

import pytest

from include.sources import SOURCES
from include.validation import changes
from include.validation.suite import EXPECTATIONS, SuiteError, load_suite, suite_hash

RULE = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "id"}, "severity": "critical"}
TABLES = [source.prefix(table.name) for source in SOURCES for table in source.tables]


def write(folder, document, table="raw/shop/orders"):
    path = folder / f"{table}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


@pytest.mark.parametrize("table", TABLES)
def test_every_declared_table_has_a_suite_that_can_refuse(table):
    suite = load_suite(table)
    assert any(rule["severity"] == "critical" for rule in suite.rules)
    types = [rule["type"] for rule in suite.rules]
    assert "expect_table_columns_to_match_ordered_list" in types
    assert "expect_table_row_count_to_be_between" in types


@pytest.mark.parametrize(
    ("source", "table"), [(source, table) for source in SOURCES for table in source.tables]
)
def test_suites_name_the_columns_that_are_declared(source, table):
    declared = [column.name for column in table.columns]
    for rule in load_suite(source.prefix(table.name)).rules:
        kwargs = rule["kwargs"]
        named = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
        assert set(named + kwargs.get("column_list", [])) <= set(declared), rule
        if rule["type"] == "expect_table_columns_to_match_ordered_list":
            assert kwargs["column_list"] == declared


def test_no_suite_is_without_a_table():
    files = {
        path.relative_to(EXPECTATIONS).with_suffix("").as_posix()
        for path in EXPECTATIONS.glob("raw/**/*.json")
    }
    assert len(files) >= 8
    assert files == {*TABLES, changes.TABLE}


def test_the_hash_is_of_what_is_said_and_not_of_how_it_is_written(tmp_path):
    write(tmp_path, {"expectations": [RULE]})
    one = load_suite("raw/shop/orders", tmp_path)
    write(tmp_path, json.dumps({"name": "x", "expectations": [dict(reversed(RULE.items()))]}, indent=8))
    assert load_suite("raw/shop/orders", tmp_path).sha256 == one.sha256
    write(tmp_path, {"expectations": [{**RULE, "severity": "warning"}]})
    other = load_suite("raw/shop/orders", tmp_path)
    assert other.sha256 != one.sha256
    write(tmp_path, {"expectations": [RULE]}, "raw/shop/items")
    items = load_suite("raw/shop/items", tmp_path)
    assert suite_hash([one, items]) == suite_hash([items, one])
    assert len({suite_hash([one]), suite_hash([items]), suite_hash([other]), suite_hash([one, items])}) == 4


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "is not JSON"),
        ({"expectations": []}, "field 'expectations'"),
        ({}, "field 'expectations'"),
        ([], "field 'expectations'"),
        ({"expectations": ["unique"]}, "expectations[0]: field 'type'"),
        (
            {"expectations": [RULE, {**RULE, "kwargs": None}]},
            "expectations[1] (expect_column_values_to_not_be_null): field 'kwargs'",
        ),
        (
            {"expectations": [{**RULE, "severity": "fatal"}]},
            "field 'severity': 'fatal'; accepted: critical, warning, info",
        ),
        ({"expectations": [{"type": "t", "kwargs": {}}]}, "field 'severity'"),
    ],
)
def test_a_broken_suite_is_refused_by_file_and_field(tmp_path, document, said):
    write(tmp_path, document)
    with pytest.raises(SuiteError) as caught:
        load_suite("raw/shop/orders", tmp_path)
    assert str(caught.value).startswith("expectations/raw/shop/orders.json: ")
    assert said in str(caught.value)


def test_a_missing_suite_is_refused_by_name(tmp_path):
    with pytest.raises(
        SuiteError, match=r"raw/shop/orders has no suite: expectations/raw/shop/orders.json is missing"
    ):
        load_suite("raw/shop/orders", tmp_path)
