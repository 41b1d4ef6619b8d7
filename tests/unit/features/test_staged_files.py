"""What staging takes from files without Spark: facts of changes, and a current state from its history."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.features.errors import StagingError
from include.features.spark_jobs import current
from include.features.spark_jobs.change_facts import Facts, facts_of
from include.features.spark_jobs.events import SNAPSHOT
from include.features.spark_jobs.shapes import Period, Shape, ShapeColumn

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
AT_US = 1_767_323_045_678_901


def change(operation, lsn, *, old=None, unchanged=(), at=AT):
    return {
        "operation": operation,
        "commit_lsn": lsn,
        "sequence": 0,
        "committed_at": at,
        "unchanged": list(unchanged),
        "old": None if old is None else {"id": old},
    }


SCHEMA = pa.schema(
    {
        "operation": pa.dictionary(pa.int8(), pa.string()),
        "commit_lsn": pa.int64(),
        "sequence": pa.int64(),
        "committed_at": pa.timestamp("us", tz="UTC"),
        "unchanged": pa.list_(pa.string()),
        "old": pa.struct({"id": pa.int64()}),
    }
)


@pytest.fixture
def log(tmp_path):
    """Makes a log of one file per period; a period has the table's columns, and their names in the result."""

    def make(*periods):
        files = []
        for place, (names, changes) in enumerate(periods):
            shape = Shape(1, tuple(ShapeColumn(name, "text", name == "id") for name in names))
            path = tmp_path / f"{place}.parquet"
            pq.write_table(pa.Table.from_pylist(changes, SCHEMA), path)
            files.append((Period(shape, place, place + 1, tuple(names.values()), anew=False), [str(path)]))
        return files

    return make


def test_facts_are_of_all_files_and_in_the_names_of_the_result(log):
    before = {"id": "id", "a": "b"}, [change("insert", 1), change("update", 2, unchanged=["a"])]
    after = (
        {"id": "id", "b": "b", "c": "c"},
        [
            change("update", 3, unchanged=["b", "c"]),
            change("delete", 3, old=7),
            change("truncate", 9),
            change("truncate", 4),
        ],
    )
    assert facts_of(log(before, after), ["id"]) == Facts(("b", "c"), ((4, 0, AT_US), (9, 0, AT_US)))


def test_a_table_that_was_made_anew_is_emptied_before_its_first_commit(log):
    late = datetime(2027, 1, 1, tzinfo=UTC)
    of_two = [change("insert", 5, at=late), change("insert", 5), change("insert", 6), change("truncate", 5)]
    facts = facts_of(log(({"id": "id"}, of_two)), ["id"], [5])
    assert facts.truncated == ((5, SNAPSHOT - 1, AT_US), (5, 0, AT_US))


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        (["id"], [change("insert", 1), change("delete", 171)]),
        (["a"], [change("delete", 171, old=1)]),
        (["a"], [change("update", 171, old=1)]),
        ([], [change("update", 171)]),
        ([], [change("update", 172), change("delete", 171)]),
    ],
)
def test_a_change_that_does_not_tell_its_row_is_an_error(log, key, changes):
    with pytest.raises(StagingError, match=r"the commit at AB does not tell which row"):
        facts_of(log(({"id": "id", "a": "a"}, changes)), key)


def test_changes_that_tell_their_rows_are_none(log):
    told = [change("insert", 1), change("update", 2), change("update", 3, old=1), change("delete", 4, old=1)]
    assert facts_of(log(({"id": "id", "a": "a"}, told)), ["id"]) == Facts((), ())
    assert facts_of(log(({"id": "id"}, [told[0], *told[2:]])), []) == Facts((), ())


def history(rows):
    columns = {"id": pa.int64(), "odd.name": pa.string(), "_to_lsn": pa.int64(), "odd": pa.string()}
    return pa.Table.from_pylist(rows, pa.schema(columns, metadata={"of": "the history"}))


def test_a_current_state_is_what_has_not_ended_in_its_order(tmp_path, monkeypatch):
    """And its bytes follow from the rows alone, however the history is cut into row groups."""
    monkeypatch.setattr(current, "GROUP_ROWS", 10)
    rows = [{"id": n, "odd.name": f"n{n}", "_to_lsn": n if n % 3 else None} for n in range(100)]
    contents = []
    for group_rows in (7, 1000):
        folder = tmp_path / str(group_rows)
        folder.mkdir()
        pq.write_table(history(rows), folder / "history.parquet", row_group_size=group_rows)
        pq.write_table(history(rows[1:3]), folder / "ended.parquet")
        given = {0: folder / "ended.parquet", 1: folder / "ended.parquet", 2: folder / "history.parquet"}
        files = current.current_files(given, ["odd.name", "id"], folder)
        assert list(files) == [0, 2], "a table without rows has one file"
        assert pq.read_table(files[0]).num_rows == 0
        there = pq.ParquetFile(files[2])
        assert [there.metadata.row_group(n).num_rows for n in range(there.num_row_groups)] == [10, 10, 10, 4]
        assert there.read().to_pylist() == [{"odd.name": f"n{n}", "id": n} for n in range(0, 100, 3)]
        assert b"of" not in (there.schema_arrow.metadata or {})
        contents.append(files[2].read_bytes())
    assert contents[0] == contents[1]


def test_an_empty_file_has_the_columns_of_another(tmp_path):
    pq.write_table(history([]), tmp_path / "like.parquet")
    current.write_empty(tmp_path / "like.parquet", tmp_path / "empty.parquet")
    assert pq.read_table(tmp_path / "empty.parquet").equals(history([]))
