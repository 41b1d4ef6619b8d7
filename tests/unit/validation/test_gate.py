"""The gate over real Parquet files: what it lets pass, what it refuses, and what it says."""

import copy
import json
import logging
import subprocess
import sys
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.validation.gate import judge
from include.validation.suite import SuiteError

ORDERS, ITEMS = "raw/shop/orders", "raw/shop/items"


def rule(kind, severity="critical", description=None, **kwargs):
    stated = {"type": kind, "severity": severity, "kwargs": kwargs}
    return {**stated, "description": description} if description else stated


UNIQUE = rule("expect_column_values_to_be_unique", column="id")
KINDS = rule("expect_column_values_to_be_in_set", column="kind", value_set=["a", "b"])
PRICES = rule("expect_column_values_to_be_between", column="price", min_value=0, max_value=100)
MOSTLY = rule("expect_column_values_to_be_between", column="price", min_value=1, mostly=0.5)
COMPOUND = rule("expect_compound_columns_to_be_unique", column_list=["id", "kind"])
DATES = rule(
    "expect_column_values_to_be_between", column="day", min_value="2017-01-01", max_value="2017-12-31"
)
ROWS = rule("expect_table_row_count_to_be_between", min_value={"$PARAMETER": "rows_at_least"})
KNOWN = rule(
    "unexpected_rows_expectation",
    description="every item belongs to an order",
    unexpected_rows_query="SELECT i.order_id FROM {batch} AS i ANTI JOIN orders AS o ON o.id = i.order_id",
)
ALL = [UNIQUE, KINDS, PRICES, MOSTLY, COMPOUND, DATES, ROWS]


def orders(**changes) -> pa.Table:
    columns = {
        "id": pa.array(range(10), pa.int32()),
        "kind": ["a", "b"] * 5,
        "price": pa.array(["1.50"] * 10).cast(pa.decimal128(10, 2)),
        "day": [date(2017, 5, 1)] * 10,
    }
    return pa.table({**columns, **changes})


@pytest.fixture
def gate(tmp_path):
    """Judge tables of (rows, rules) by name."""

    def run(*, rows_before=None, **tables):
        files = {}
        for name, (rows, rules) in tables.items():
            suite = tmp_path / "expectations" / f"raw/shop/{name}.json"
            suite.parent.mkdir(parents=True, exist_ok=True)
            suite.write_text(json.dumps({"expectations": rules}))
            path = tmp_path / f"{name}.parquet"
            if rows is not None:
                pq.write_table(rows, path)
            files[f"raw/shop/{name}"] = [path] if rows is not None else []
        return judge(files, rows_before or {}, tmp_path / "scratch", expectations=tmp_path / "expectations")

    return run


def test_good_data_passes_every_rule(gate):
    verdict, (evidence,) = gate(orders=(orders(), ALL))
    assert verdict.passed
    assert verdict.checked == len(ALL)
    assert verdict.findings == ()
    assert len(verdict.suite_hash) == 64
    assert evidence.table == ORDERS
    assert [result["success"] for result in evidence.document["results"]] == [True] * len(ALL)
    json.dumps(evidence.document)


@pytest.mark.parametrize(
    ("changes", "name", "observed"),
    [
        (
            {"id": pa.array([0, *range(9)], pa.int32())},
            "expect_column_values_to_be_unique(id)",
            "2 of 10 rows: 0, 0",
        ),
        ({"kind": ["z"] + ["a"] * 9}, "expect_column_values_to_be_in_set(kind)", "1 of 10 rows: z"),
        (
            {"price": pa.array(["101.00"] + ["1.00"] * 9).cast(pa.decimal128(10, 2))},
            "expect_column_values_to_be_between(price)",
            "1 of 10 rows: 101.0",
        ),
        (
            {"day": [date(2018, 1, 1)] + [date(2017, 1, 1)] * 9},
            "expect_column_values_to_be_between(day)",
            "1 of 10",
        ),
    ],
)
def test_bad_data_is_refused_with_rule_column_count_and_sample(gate, changes, name, observed):
    verdict, _ = gate(orders=(orders(**changes), ALL))
    assert not verdict.passed
    (finding,) = verdict.findings
    assert (finding.table, finding.rule, finding.severity) == (ORDERS, name, "fail")
    assert finding.observed.startswith(observed)


def test_rules_of_one_type_on_one_column_are_all_checked(gate):
    # Great Expectations' own `Validator.validate` keeps the last of them.
    strict = rule("expect_column_values_to_be_between", column="price", min_value=2)
    verdict, _ = gate(orders=(orders(), [strict, PRICES, MOSTLY]))
    assert verdict.checked == 3
    assert [finding.observed[:11] for finding in verdict.findings] == ["10 of 10 ro"]


def test_a_warning_is_recorded_and_passes_and_stands_after_what_refuses(gate):
    warning = rule(
        "expect_column_values_to_be_in_set", "warning", "kinds are a", column="kind", value_set=["a"]
    )
    verdict, _ = gate(orders=(orders(), [warning, UNIQUE]))
    assert verdict.passed
    assert [(finding.rule, finding.severity) for finding in verdict.findings] == [("kinds are a", "warn")]
    verdict, _ = gate(orders=(orders(id=pa.array([1] * 10, pa.int32())), [warning, UNIQUE]))
    assert not verdict.passed
    assert [finding.severity for finding in verdict.findings] == ["fail", "warn"]


def test_a_rule_that_cannot_be_checked_refuses(gate):
    absent = rule("expect_column_values_to_be_unique", column="colour")
    verdict, _ = gate(orders=(orders(), [absent, UNIQUE]))
    assert not verdict.passed
    (finding,) = verdict.findings
    assert finding.rule == "expect_column_values_to_be_unique(colour)"
    assert "could not be checked" in finding.observed
    assert "colour" in finding.observed


def test_a_rule_over_two_tables(gate):
    items = pa.table({"order_id": pa.array([1, 2, 99], pa.int32())})
    verdict, _ = gate(orders=(orders(), [UNIQUE]), items=(items, [KNOWN]))
    assert not verdict.passed
    (finding,) = verdict.findings
    assert (finding.table, finding.rule, finding.observed) == (ITEMS, "every item belongs to an order", "1")


@pytest.mark.parametrize(("before", "passed"), [(None, True), (11, True), (12, False), (1000, False)])
def test_a_table_that_shrank_is_refused(gate, before, passed):
    verdict, _ = gate(orders=(orders(), [ROWS]), rows_before={ORDERS: before} if before else {})
    assert verdict.passed is passed


def test_a_table_without_rows_is_refused(gate):
    verdict, _ = gate(orders=(orders().slice(0, 0), [ROWS]))
    assert not verdict.passed


def test_a_table_without_files_is_refused_and_the_others_are_judged(gate):
    verdict, _ = gate(orders=(None, [UNIQUE]), items=(pa.table({"order_id": [1]}), [ROWS]))
    assert not verdict.passed
    assert [(finding.table, finding.rule) for finding in verdict.findings] == [(ORDERS, "table has files")]


def test_nothing_checked_never_passes(gate):
    verdict, _ = gate(orders=(None, [UNIQUE]))
    assert (verdict.passed, verdict.checked) == (False, 0)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (rule("expect_the_moon", column="id"), "expect_the_moon"),
        (rule("expect_column_values_to_be_between", columns="id"), "columns"),
        (rule("expect_column_values_to_be_between", column="id", mostly=7), "mostly"),
    ],
)
def test_a_rule_that_is_none_is_an_error_and_never_left_out(gate, broken, said):
    with pytest.raises(SuiteError) as caught:
        gate(orders=(orders(), [UNIQUE, broken]))
    assert str(caught.value).startswith("expectations/raw/shop/orders.json: ")
    assert said in str(caught.value)


def test_detail_is_asked_for_only_where_a_rule_failed(gate, monkeypatch):
    from include.validation.great_expectations_run import SuiteRunner

    asked = []
    original = SuiteRunner._validate

    def counted(self, suite, rules, view, parameters, result_format):
        asked.append((len(rules), copy.deepcopy(result_format)))
        return original(self, suite, rules, view, parameters, result_format)

    monkeypatch.setattr(SuiteRunner, "_validate", counted)
    gate(orders=(orders(kind=["z"] * 10), ALL))
    assert asked == [
        (len(ALL), "BOOLEAN_ONLY"),
        (1, {"result_format": "SUMMARY", "partial_unexpected_count": 5}),
    ]


def test_a_million_bad_values_are_a_short_finding(gate):
    many = pa.table({"id": pa.array(range(1_000_000), pa.int32())})
    bad = rule("expect_column_values_to_be_between", column="id", max_value=-1)
    verdict, (evidence,) = gate(orders=(many, [bad]))
    assert verdict.findings[0].observed == "1,000,000 of 1,000,000 rows: 0, 1, 2, 3, 4"
    assert len(json.dumps(evidence.document)) < 5000


def test_the_library_is_quiet_and_its_telemetry_off(gate, caplog):
    import os

    with caplog.at_level(logging.INFO):
        gate(orders=(orders(), ALL))
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
    assert [record.name for record in caplog.records if record.name.startswith("great_expectations")] == []


def test_importing_the_room_is_cheap():
    heavy = "[m for m in ('great_expectations', 'duckdb', 'pandas') if m in sys.modules]"
    code = f"import sys, include.validation.gate, include.validation.draft; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
