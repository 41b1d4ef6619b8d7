"""What was read in many runs makes the same files as what is read in one."""

import itertools
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.ingestion import merging
from include.ingestion.contracts import arrow_schema
from include.ingestion.merging import Merge, write_fresh
from include.ingestion.snapshot import Part, write_parts
from include.ingestion.spans import Span
from include.spec.reads import Incremental, SqlTable
from include.spec.source import Column, Table

TABLE = Table(
    name="orders",
    description="One order.",
    read=SqlTable(url="shop_url", incremental=Incremental(cursor="version")),
    columns=(
        Column(name="id", type="int32"),
        Column(name="name", type="string", nullable=True),
        Column(name="version", type="int64"),
    ),
    key=("id",),
)
SCHEMA = arrow_schema(TABLE)
PART_ROWS, BATCH_ROWS = 6, 3

Row = tuple[int, str | None, int]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(merging, "BATCH_ROWS", BATCH_ROWS)


def batch(rows: list[Row]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def merged(
    folder: Path, fresh: list[Row], base: tuple[Part, ...] = (), replaced: Span | None = None, run: int = 0
) -> tuple[tuple[Part, ...], int]:
    """The parts of a snapshot, and how many of them stayed from the base."""
    path = folder / f"fresh-{run}"
    write_fresh(TABLE, iter([batch(fresh)] if fresh else []), path)
    with merging.merging(folder) as connection:
        merge = Merge(connection, TABLE, path, [folder / part.name for part in base], replaced)
        skipped = merge.untouched()
        names = (f"{run}-{number:03d}.parquet" for number in itertools.count())
        parts = (
            ()
            if base and skipped == len(base)
            else write_parts(SCHEMA, merge.batches(skipped), folder, names, part_rows=PART_ROWS)
        )
        return (*base[:skipped], *parts), skipped


def digests(parts: tuple[Part, ...]) -> list[tuple[int, str]]:
    return [(part.rows, part.sha256) for part in parts]


rows = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["a", "b", None])), max_size=30)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, min_size=1, max_size=4))
def test_increments_make_the_files_of_a_full_read(tmp_path_factory, runs):
    folder = tmp_path_factory.mktemp("merge")
    version = itertools.count()
    source: dict[int, Row] = {}
    parts: tuple[Part, ...] = ()
    seen: list[Row] = []
    for number, run in enumerate(runs):
        fresh: list[Row] = [(key, name, next(version)) for key, name in run]
        source |= {row[0]: row for row in fresh}
        # Late and repeated: the last rows of the run before come once more, before the new ones.
        parts, _ = merged(folder, [*seen[-5:], *fresh], parts, run=number)
        seen += fresh
    whole, _ = merged(folder, sorted(source.values()), run=99)
    assert sum(part.rows for part in whole) == len(source)
    assert digests(parts) == digests(whole)
    assert all(part.rows == PART_ROWS for part in parts[:-1])


def test_files_before_the_first_key_that_was_read_stay_as_they_are(tmp_path):
    first, _ = merged(tmp_path, [(key, "a", key) for key in range(20)])
    assert [part.rows for part in first] == [6, 6, 6, 2]
    second, kept = merged(tmp_path, [(13, "b", 30), (20, "b", 31)], first, run=1)
    assert kept == 2
    assert [part.name[0] for part in second] == ["0", "0", "1", "1"]
    third, kept = merged(tmp_path, [], second, run=2)
    assert (third, kept) == (second, 4)


def test_a_range_that_was_read_anew_replaces_what_was_there(tmp_path):
    first, _ = merged(tmp_path, [(key, "a", key) for key in range(10)])
    second, kept = merged(tmp_path, [(4, "b", 4)], first, Span(3, 7), run=1)
    whole, _ = merged(
        tmp_path, [(key, "b" if key == 4 else "a", key) for key in (0, 1, 2, 4, 7, 8, 9)], run=2
    )
    assert kept == 0
    assert digests(second) == digests(whole)
    emptied, _ = merged(tmp_path, [], first, Span(), run=3)
    assert emptied == ()


def test_of_rows_with_one_cursor_the_last_one_read_stays(tmp_path):
    first, _ = merged(tmp_path, [(1, "a", 5), (1, "b", 5), (2, "x", 9), (2, "y", 8)])
    second, _ = merged(tmp_path, [(1, "c", 5), (2, "z", 8)], first, run=1)
    whole, _ = merged(tmp_path, [(1, "c", 5), (2, "x", 9)], run=2)
    assert digests(second) == digests(whole)
