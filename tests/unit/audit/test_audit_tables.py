"""I1, I2 and I8 on small Parquet files."""

import hashlib
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.audit.rows import check_parts, check_source_rows, check_unique, part_rows
from include.audit.tables import Table, connected, table_files
from include.audit.training_sets import check_training_set

DAY = timedelta(days=1)
START = datetime(2017, 1, 1)


def held(folder, path, rows):
    folder.mkdir(exist_ok=True)
    file = folder / "000000.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Table(path, (f"{path}/0.parquet",), folder, {"0.parquet": digest})


def ids(checked):
    return [violation.id for violation in checked.violations]


def test_data_files_are_told_from_evidence():
    paths = [
        "raw/retail/products/snapshot/0.parquet",
        "raw/retail/_gate/products.parquet",
        "features/_gate/a.json",
        "features/feat_a/part.parquet",
    ]
    assert list(table_files(paths)) == ["features/feat_a", "raw/retail/products"]


def test_rows_at_the_source_are_rows_in_the_lake():
    assert check_source_rows({"raw/a": 3}, {"raw/a": 2}, {"raw/a": 1}).violations == ()
    assert ids(check_source_rows({"raw/a": 3, "raw/b": 1}, {"raw/a": 2}, {})) == ["raw/a", "raw/b"]


def test_a_landed_file_is_the_one_that_was_written(tmp_path):
    table = held(tmp_path / "t", "raw/retail/products", [{"product_id": 1}, {"product_id": 2}])
    part = {"name": "0.parquet", "rows": 2, "sha256": table.sha256["0.parquet"]}
    rows = part_rows(table)
    assert check_parts(table, rows, {"parts": [part]}).count == 1
    assert not check_parts(table, rows, {"parts": [part]}).violations
    named = ["raw/retail/products/0.parquet"]
    assert ids(check_parts(table, rows, {"parts": [{**part, "rows": 3}]})) == named
    assert ids(check_parts(table, rows, {"parts": [{**part, "sha256": "0"}]})) == named
    assert ids(check_parts(table, rows, {})) == named
    assert ids(check_parts(table, {}, {"parts": [part]})) == named


@pytest.mark.parametrize(
    ("path", "document", "row"),
    [
        ("raw/retail/products", None, {"product_id": 1}),
        ("staged/retail/products", None, {"product_id": 1}),
        ("staged/retail/products__history", None, {"product_id": 1, "_from_lsn": 7}),
        ("features/f", {"entity": ["h"]}, {"h": 1, "event_timestamp": START, "created_timestamp": START}),
        ("training_sets/p/1", {"entity": ["h"]}, {"h": 1, "event_timestamp": START}),
        ("predictions/p", None, {"h": 1, "event_timestamp": START, "score": 0.5, "model_version": "1"}),
    ],
)
def test_a_key_that_is_there_twice_is_named(tmp_path, path, document, row):
    key = next(iter(row))
    with connected(tmp_path) as connection:
        clean = check_unique(connection, held(tmp_path / "a", path, [row, {**row, key: 2}]), document)
        assert clean is not None
        assert (clean.count, clean.violations) == (1, ())
        twice = check_unique(connection, held(tmp_path / "b", path, [row, row]), document)
    assert ids(twice)[0].startswith(f"{path}?{key}=1")


def test_a_table_without_a_known_key_is_not_called_unique(tmp_path):
    with connected(tmp_path) as connection:
        assert check_unique(connection, held(tmp_path / "a", "raw/new/t", [{"a": 1}]), None) is None


def learning_rows():
    return [
        {
            "h": number,
            "event_timestamp": START + number * 10 * DAY,
            "matured_timestamp": START + number * 10 * DAY + DAY,
            "label": 1,
            "split": split,
            "f__event_timestamp": START + number * 10 * DAY - DAY,
            "f__created_timestamp": START + number * 10 * DAY,
        }
        for number, split in enumerate(("train", "validation", "test"))
    ]


DOCUMENT = {"as_of": (START + 30 * DAY).isoformat(), "tables": ["f"]}
SET = "training_sets/p/1"


def judged(tmp_path, rows, document=DOCUMENT):
    with connected(tmp_path) as connection:
        return check_training_set(connection, held(tmp_path / "s", SET, rows), document)


def test_a_training_set_from_the_past_alone_is_kept(tmp_path):
    checked = judged(tmp_path, learning_rows())
    assert (checked.count, checked.violations) == (3, ())


@pytest.mark.parametrize(
    ("column", "late"),
    [
        ("f__event_timestamp", 5),
        ("f__created_timestamp", 5),
        ("matured_timestamp", 40),
        ("matured_timestamp", 15),
    ],
)
def test_what_came_from_the_future_is_named(tmp_path, column, late):
    rows = learning_rows()
    rows[0][column] = START + late * DAY
    assert set(ids(judged(tmp_path, rows))) == {SET}


def test_a_set_that_cannot_be_checked_is_not_kept(tmp_path):
    assert ids(judged(tmp_path, learning_rows(), None)) == [SET]
    rows = [{name: row[name] for name in row if name != "f__created_timestamp"} for row in learning_rows()]
    assert ids(judged(tmp_path, rows)) == [SET]
