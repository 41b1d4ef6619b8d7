"""How the files of a change log are written."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from include.ingestion.change_log import ChangeLog
from include.ingestion.pgoutput import ChangeBatch, ShapeColumn, TableShape
from include.ingestion.pgoutput.changes import change_schema
from include.ingestion.pgoutput.types import Reading

POSITIONS = {"lsn", "commit_lsn", "sequence", "transaction_id", "committed_at"}
SHAPE = TableShape(7, "public", "orders", "default", (ShapeColumn("note.text", "text", 25, -1, True),))


def batch(first: int, rows: int) -> ChangeBatch:
    schema = change_schema(SHAPE, (Reading(pa.string(), "text"),))
    changes: list[dict[str, Any]] = [
        {
            "operation": "insert",
            "lsn": lsn,
            "commit_lsn": lsn + 10,
            "sequence": lsn - first,
            "transaction_id": lsn,
            "committed_at": datetime.fromtimestamp(lsn, UTC),
            "old": None,
            "row": {"note.text": f"note {lsn % 3}"},
            "unchanged": [],
            "special": [],
        }
        for lsn in range(first, first + rows)
    ]
    return ChangeBatch(SHAPE, pa.RecordBatch.from_pylist(changes, schema))


def test_positions_are_kept_as_differences_and_all_else_by_dictionary(tmp_path):
    log = ChangeLog(tmp_path)
    log.append("raw/shop/orders/changes", batch(2**33, 500))
    log.append("raw/shop/orders/changes", batch(2**34, 500))
    log.close()
    (path,) = tmp_path.iterdir()
    columns = [pq.read_metadata(path).row_group(1).column(n) for n in range(9)]
    by_difference = {one.path_in_schema for one in columns if "DELTA_BINARY_PACKED" in one.encodings}
    by_dictionary = {one.path_in_schema for one in columns if one.has_dictionary_page}
    assert by_difference == POSITIONS
    assert {"operation", "row.note.text"} <= by_dictionary
    written = pq.read_table(path)
    assert written.column("lsn").to_pylist() == [*range(2**33, 2**33 + 500), *range(2**34, 2**34 + 500)]
    assert written.slice(500).to_pylist() == batch(2**34, 500).data.to_pylist()
