"""Rows that break their contract go apart, the others on, and together they are all rows that were read."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as of_examples
from hypothesis import strategies as st

from include.ingestion import contracts
from include.ingestion.connectors.files import FileStore
from include.ingestion.contracts import ContractError
from include.ingestion.decisions import Decision, parse_decisions, render_decisions, row_id
from include.ingestion.held_rows import held_rows
from include.ingestion.row_text import MISFIT, batch_of, row_texts
from include.ingestion.sieve import Origin, Sieve
from include.settings import Settings
from include.spec.contract import Matches, OneOf, Range, References
from include.spec.reads import Files
from include.spec.source import Column, Table

HERE = Origin("orders/week_1.csv", "orders/week_1.csv", "apart.parquet", "v1")
RULES = (
    Range(column="quantity", minimum=1),
    OneOf(column="size", values=("S", "M", "L")),
    Matches(column="code", pattern="[a-z]{2}[0-9]*"),
    References(column="product_id", table="products"),
)
KNOWN = {("products", "product_id"): pa.array([1, 2, 3], pa.int32())}


def a_table(**changes) -> Table:
    fields: dict[str, Any] = {
        "name": "orders",
        "description": "One order.",
        "read": Files(bucket="landing_bucket", pattern="orders/*.csv*", format="csv"),
        "columns": (
            Column(name="product_id", type="int32"),
            Column(name="quantity", type="int16"),
            Column(name="price", type="decimal(6,2)"),
            Column(name="size", type="string", nullable=True),
            Column(name="code", type="string", nullable=True),
        ),
        "rules": RULES,
        "on_violation": "quarantine",
        "quarantine_at_most": 1.0,
    } | changes
    return Table(**fields)


TABLE = a_table()
SCHEMA = contracts.arrow_schema(TABLE)
GOOD = {"product_id": 1, "quantity": 2, "price": Decimal("1.50"), "size": "S", "code": "ab1"}


def a_batch(*rows) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([GOOD | row for row in rows], schema=SCHEMA)


def sift(folder: Path, batches, table=TABLE, **options):
    folder.mkdir(parents=True, exist_ok=True)
    sieve = Sieve(table, folder, known=KNOWN, **options)
    passed = [row for batch in sieve.passed(batches, HERE) for row in batch.to_pylist()]
    apart = [row for part in sieve.parts for row in pq.read_table(folder / part.name).to_pylist()]
    assert sieve.rows_in == len(passed) + len(apart)
    return passed, apart, sieve


def test_a_batch_without_a_fault_passes_as_it_is_and_writes_nothing(tmp_path):
    batch = a_batch({}, {"size": None, "code": None})
    sieve = Sieve(TABLE, tmp_path, known=KNOWN)
    assert [passed is batch for passed in sieve.passed([batch], HERE)] == [True]
    assert sieve.parts == []
    assert list(tmp_path.iterdir()) == []


def test_each_broken_rule_is_named_with_its_row_and_what_is_accepted(tmp_path):
    rows = [{}, {"quantity": 0}, {"size": "XL"}, {"code": "1"}, {"product_id": 9}, {"quantity": None}, {}]
    passed, apart, sieve = sift(tmp_path, [a_batch(*rows[:3]), a_batch(*rows[3:])])
    assert passed == [GOOD, GOOD]
    assert [(row["row_number"], row["rule"]) for row in apart] == [
        (2, "range(quantity)"),
        (3, "one_of(size)"),
        (4, "matches(code)"),
        (5, "references(product_id)"),
        (6, "not_null(quantity)"),
    ]
    assert apart[0]["reason"] == "quantity must be 1 or more"
    assert apart[3]["reason"] == "product_id must be a value of products.product_id"
    assert json.loads(apart[0]["row"]) == GOOD | {"quantity": 0, "price": "1.50"}
    assert {(row["origin"], row["schema_hash"]) for row in apart} == {(HERE.name, TABLE.schema_hash)}
    assert [row["id"] for row in apart] == [row_id(row["row"]) for row in apart]
    assert [(part.rows, part.origin, part.version) for part in sieve.parts] == [(5, HERE.name, "v1")]


def test_a_row_that_breaks_two_rules_is_apart_once_and_names_both(tmp_path):
    _, apart, sieve = sift(tmp_path, [a_batch({"quantity": -1, "product_id": 7})])
    assert [row["rule"] for row in apart] == ["range(quantity), references(product_id)"]
    assert sieve.broke == {"range(quantity)": 1, "references(product_id)": 1}


def test_a_table_that_refuses_says_which_row_breaks_which_rule(tmp_path):
    table = a_table(on_violation="refuse")
    with pytest.raises(ContractError, match=r"row 2 breaks range\(quantity\): quantity must be 1 or more"):
        sift(tmp_path, [a_batch({}, {"quantity": 0})], table)


def test_values_that_others_refer_to_are_those_of_published_rows(tmp_path):
    batch = a_batch({"product_id": 1}, {"product_id": 2, "quantity": 0}, {"product_id": 3})
    _, _, sieve = sift(tmp_path, [batch, batch], remember=["product_id"])
    assert sorted(sieve.values("product_id").to_pylist()) == [1, 3]


def test_decisions_let_a_row_pass_where_it_stood_and_no_further(tmp_path):
    rows = a_batch({}, {"quantity": 0}, {"quantity": -1}, {"quantity": -2, "product_id": 9}, {})
    _, apart, _ = sift(tmp_path / "first", [rows])
    right = json.dumps(json.loads(apart[1]["row"]) | {"quantity": 5})
    told = ("ann@b.example", "counted by hand", "2026-11-21T00:00:00+00:00")
    decisions = [
        Decision(apart[0]["id"], "accept", ("range(quantity)",), apart[0]["row"], "", *told),
        Decision(apart[1]["id"], "correct", ("range(quantity)",), apart[1]["row"], right, *told),
        Decision(apart[2]["id"], "accept", ("range(quantity)",), apart[2]["row"], "", *told),
    ]
    read = parse_decisions(render_decisions(decisions), "decisions.json")
    assert set(read) == {one.id for one in decisions}
    passed, left, _ = sift(tmp_path / "second", [rows], decisions=read)
    assert [row["quantity"] for row in passed] == [2, 0, 5, 2]
    assert [row["id"] for row in left] == [apart[2]["id"]]


@pytest.fixture
def store(tmp_path) -> FileStore:
    (tmp_path / "landing" / "orders").mkdir(parents=True)
    return FileStore(Settings(landing_bucket=f"file://{tmp_path}/landing", home=tmp_path), "landing_bucket")


def read_csv(store: FileStore, tmp_path: Path, lines: list[bytes], table=TABLE) -> list[pa.RecordBatch]:
    header = b"product_id,quantity,price,size,code"
    (tmp_path / "landing" / "orders" / "week.csv").write_bytes(b"\n".join([header, *lines]) + b"\n")
    assert isinstance(table.read, Files)
    return [batch for file in store.matching(table.read) for batch in store.read(table, file)]


def test_of_a_csv_file_only_the_rows_that_do_not_fit_are_misfits(store, tmp_path):
    lines = [b"1,2,1.50,S,ab1", b"1,two,1.50,S,ab1", b'"1",3,"1.50",,""', b"1,2", b"2,2,9.999,S,ab"]
    lines += [b"3, 4 , 1.5,M,ab", b"1,2,1,\xff,ab", b"1,,1.5,S,ab", b"1,1,1,S,ab,9", b"1,5,1,S,ab"]
    passed, apart, _ = sift(tmp_path / "out", read_csv(store, tmp_path, lines), a_table(rules=RULES[:1]))
    assert [row["quantity"] for row in passed] == [2, 3, 4, 5]
    assert passed[1] == GOOD | {"quantity": 3, "size": None, "code": ""}
    assert [(row["row_number"], row["rule"], row["reason"]) for row in apart] == [
        (2, "type(quantity)", "quantity is 'two', no int16"),
        (4, "columns", "there are 2 fields, not 5"),
        (5, "type(price)", "price is '9.999', no decimal128(6, 2)"),
        (7, "encoding", r"size is no UTF-8: '\\xff'"),
        (8, "not_null(quantity)", "quantity has no value"),
        (9, "columns", "there are 6 fields, not 5"),
    ]
    assert json.loads(apart[0]["row"]) == {
        "product_id": "1",
        "quantity": "two",
        "price": "1.50",
        "size": "S",
        "code": "ab1",
    }
    assert json.loads(apart[1]["row"]) == {"_line": "1,2"}


def test_a_bad_value_behind_the_first_blocks_spoils_no_row_before_or_after(store, tmp_path, monkeypatch):
    monkeypatch.setattr("include.ingestion.connectors.formats.BLOCK_SIZE_BYTES", 256)
    lines = [b"%d,%d,1.50,S,ab1" % (1 + n % 3, n + 1) for n in range(400)]
    bad = {123: b"1,x,1,S,ab", 124: b"1", 250: b"1,70000,1,S,ab", 399: b"1,1,1,S,ab,1"}
    wrong = [bad.get(n, line) for n, line in enumerate(lines)]
    passed, apart, _ = sift(tmp_path / "out", read_csv(store, tmp_path, wrong), TABLE)
    assert [row["quantity"] for row in passed] == [n + 1 for n in range(400) if n not in bad]
    assert [row["row_number"] for row in apart] == [n + 1 for n in sorted(bad)]


def test_a_file_that_is_no_csv_is_refused_whole(store, tmp_path):
    (tmp_path / "landing" / "orders" / "week.csv").write_bytes(b"product_id\n1\n")
    with pytest.raises(ContractError, match="column 'quantity', 'price', 'size', 'code' is missing"):
        list(store.read(TABLE, store.matching(TABLE.read)[0]))


VALUES = st.fixed_dictionaries(
    {
        "product_id": st.sampled_from(["1", "2", "3", "4", "x", ""]),
        "quantity": st.sampled_from(["1", " 2", "0", "-1", "32768", "1.0", "", "7"]),
        "price": st.sampled_from(["1", "1.50", "9.999", "1e2", "32768", "nan", " 3.5", ""]),
        "size": st.sampled_from(["S", "XL", "", "M"]),
        "code": st.sampled_from(["ab", "1", "", "zz9"]),
    }
)
RIGHT = {"product_id": "1", "quantity": "3", "price": "2.50", "size": "L", "code": "ab"}


@of_examples(deadline=None)
@given(rows=st.lists(VALUES, max_size=12), block=st.integers(40, 200))
def test_what_is_corrected_and_read_again_is_what_clean_input_gives(tmp_path_factory, rows, block):
    folder = tmp_path_factory.mktemp("sift")
    (folder / "landing" / "orders").mkdir(parents=True)
    store = FileStore(Settings(landing_bucket=f"file://{folder}/landing", home=folder), "landing_bucket")

    def lines(of):
        # Hypothesis varies the order of a dictionary's keys.
        return [",".join(row[name] for name in RIGHT).encode() for row in of]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("include.ingestion.connectors.formats.BLOCK_SIZE_BYTES", block)
        batches = read_csv(store, folder, lines(rows))
        passed, apart, sieve = sift(folder / "first", batches)
        bad = {row["row_number"] - 1 for row in apart}
        clean = [RIGHT if number in bad else row for number, row in enumerate(rows)]
        expected, none, _ = sift(folder / "clean", read_csv(store, folder, lines(clean)))
    assert none == []
    told = ("ann@b.example", "known by heart", "2026-11-21T00:00:00+00:00")
    decisions = {
        row["id"]: Decision(row["id"], "correct", (), row["row"], json.dumps(RIGHT), *told) for row in apart
    }
    held = folder / "held.parquet"
    pq.write_table(pa.Table.from_pylist(passed, SCHEMA), held)
    files = [folder / "first" / part.name for part in sieve.parts]
    again, left, _ = sift(folder / "again", held_rows(TABLE, [held], files, "orders"), decisions=decisions)
    assert left == []
    assert again == expected
    unchanged, same, _ = sift(folder / "same", held_rows(TABLE, [held], files, "orders"))
    assert (unchanged, same) == (passed, apart)


@of_examples(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "f": st.none() | st.floats(width=32),
                "b": st.none() | st.binary(max_size=4),
                "t": st.none() | st.datetimes(),
                "s": st.none() | st.text(max_size=5),
                "o": st.none() | st.booleans(),
                "d": st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=2, max_value=999),
            }
        ),
        min_size=1,
        max_size=5,
    )
)
def test_the_text_of_a_row_gives_the_row_and_the_row_its_text(rows):
    types = {"f": pa.float32(), "b": pa.binary(), "t": pa.timestamp("us"), "s": pa.string(), "o": pa.bool_()}
    schema = pa.schema(types | {"d": pa.decimal128(38, 2)})
    try:
        batch = pa.RecordBatch.from_pylist(rows, schema=schema)
    except (pa.ArrowInvalid, UnicodeEncodeError):
        return
    texts = row_texts(batch)
    again = batch_of(texts, schema)
    assert MISFIT not in again.schema.names
    assert row_texts(again) == texts
