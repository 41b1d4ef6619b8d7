"""The order of a change log, and each way in which it can be broken."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.audit.changes import change_files, check_order
from include.audit.tables import Table

FOLDER = "raw/shop/orders"


def span(first, last, number=0):
    return f"{FOLDER}/changes/{first:016X}-{last:016X}-{number:05d}.parquet"


@pytest.fixture
def log(tmp_path):
    """Makes a change log: of each file (first, last, number), its (operation, commit, sequence)."""

    def make(files):
        for number, rows in enumerate(files.values()):
            names = ("operation", "commit_lsn", "sequence")
            columns = dict(zip(names, zip(*rows, strict=True), strict=True))
            table = pa.table(
                {
                    "operation": pa.array(columns["operation"]).dictionary_encode(),
                    "commit_lsn": pa.array(columns["commit_lsn"], pa.int64()),
                    "sequence": pa.array(columns["sequence"], pa.int64()),
                }
            )
            pq.write_table(table, tmp_path / f"{number:06d}.parquet")
        return Table(FOLDER, tuple(span(*each) for each in files), tmp_path, {})

    return make


LOADED = {
    (0, 100, 0): [("read", 100, None), ("read", 100, None)],
    (0, 100, 1): [("read", 100, None)],
}
WHOLE = {
    **LOADED,
    (100, 200, 0): [("insert", 110, 0), ("update", 110, 1), ("delete", 120, 0)],
    (100, 200, 1): [("insert", 120, 5)],
    (300, 400, 0): [("update", 300, 0)],
}


def test_change_files_are_in_the_order_of_the_log_and_nothing_else_is_one():
    others = [f"{FOLDER}/snapshot/0.parquet", f"{FOLDER}/changes/_shape.json", f"{FOLDER}/changes/0.parquet"]
    files = [span(100, 200, 1), span(100, 200), span(0, 100)]
    assert change_files([*others, *files]) == {FOLDER: tuple(sorted(files))}


def test_a_log_in_order_is_kept(log):
    checked = check_order(log(WHOLE))
    assert (checked.count, checked.violations) == (8, ())


@pytest.mark.parametrize(
    ("planted", "where", "said"),
    [
        (
            {(300, 400, 0): [("update", 310, 0), ("update", 305, 0)]},
            span(300, 400),
            "0 of the commit at 0/131",
        ),
        ({(300, 400, 0): [("update", 310, 1), ("update", 310, 0)]}, span(300, 400), "behind a later one"),
        ({(300, 400, 0): [("update", 310, 0), ("update", 310, 0)]}, span(300, 400), "behind a later one"),
        ({(100, 200, 1): [("insert", 120, 0)]}, span(100, 200, 1), "behind a later one"),
        ({(300, 400, 0): [("update", 400, 0)]}, span(300, 400), "outside of the span"),
        ({(300, 400, 0): [("update", 299, 0)]}, span(300, 400), "outside of the span"),
        ({(300, 400, 0): [("update", 310, None)]}, span(300, 400), "outside of the span"),
        ({(0, 100, 1): [("read", 99, None)]}, span(0, 100, 1), "outside of the span"),
        ({(190, 250, 0): [("update", 210, 0)]}, FOLDER, "0/BE in files up to 0/C8"),
    ],
)
def test_a_change_out_of_its_place_is_named(log, planted, where, said):
    violations = check_order(log(dict(sorted({**WHOLE, **planted}.items())))).violations
    assert any(one.id == where and said in one.what for one in violations), violations
