"""Staging a table of a lake, and reading what came of it."""

import hashlib
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq

from include.features.staged import StagedTable, stage_table
from include.lake import Lake, checkout, commit_draft, merge_draft, open_draft
from include.lake.objects import list_objects
from include.settings import Settings
from include.spec.source import Source
from tests.integration.cdc.capturing import PASSED

OURS = ("valid_from", "valid_to", "_from_lsn", "_to_lsn", "_special")


def stage(
    lake: Lake, settings: Settings, source: Source, table: str, spark: Any, **options: Any
) -> StagedTable:
    """One run that stages a table, and publishes it if it changed."""
    draft = open_draft(lake, uuid4().hex, "stage", restart=True)
    done = stage_table(lake, settings, draft, source, source.table(table), lambda: spark, **options)
    assert done is not None
    if done.changed:
        commit_draft(lake, draft, "Stage", {}, PASSED)
        merge_draft(lake, draft)
    return done


def stored(lake: Lake, prefix: str) -> list[dict[str, Any]]:
    """All rows of a table on main, in order of its files."""
    with checkout(lake, lake.head(), prefix) as files:
        paths = sorted(files.path(prefix).glob("*.parquet"))
        schemas = {str(pq.read_schema(path)) for path in paths}
        assert len(schemas) == 1, schemas
        rows: list[dict[str, Any]] = [row for path in paths for row in pq.read_table(path).to_pylist()]
    return [row | {"_special": dict(row["_special"])} for row in rows]


def plain(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The source's own columns."""
    return [{name: value for name, value in row.items() if name not in OURS} for row in rows]


def hashes(rows: Iterable[Any]) -> tuple[int, str]:
    """How many rows, and a hash over all of them in whatever order; a row is its columns, or their values."""
    values = (tuple(row.values()) if isinstance(row, dict) else row for row in rows)
    each = sorted(hashlib.sha256(repr(row).encode()).hexdigest() for row in values)
    return len(each), hashlib.sha256("".join(each).encode()).hexdigest()


def contents(lake: Lake, prefix: str) -> dict[str, str]:
    """SHA-256 of the files under a prefix of main."""
    stats = list_objects(lake, lake.head(), prefix)
    return {stat.path: stat.metadata["headrace-sha256"] for stat in stats}
