"""What a draft adds to main, for the metadata of its merge: rows per table, and watermarks."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from include.lake.connection import Lake
from include.lake.layout import table_of, watermark_source
from include.lake.objects import rows_in
from include.lake.watermark import read_watermark
from include.spec.refs import CommitRef

STAT_THREADS = 8


def summarise(lake: Lake, base: str, commit: str) -> tuple[dict[str, int], str]:
    """Rows written per table, and the watermarks reached as JSON; cost goes with the changes.

    A table with a file whose rows nobody recorded is left out rather than counted wrong.
    """
    diff = lake.api.refs_api.diff_refs
    changes = [
        change
        for change in lake.pages(diff, base, commit, type="two_dot", include_right_stats=True)
        if change.type in {"added", "changed"}
    ]
    tables = {change.path: table for change in changes if (table := table_of(change.path))}
    with ThreadPoolExecutor(STAT_THREADS) as threads:
        counted = threads.map(
            lambda change: _rows(lake, commit, change), [c for c in changes if c.path in tables]
        )
        rows: Counter[str] = Counter()
        unknown = set()
        for path, count in counted:
            rows[tables[path]] += count or 0
            if count is None:
                unknown.add(tables[path])
    return {table: rows[table] for table in rows if table not in unknown}, _watermarks(lake, commit, changes)


def _rows(lake: Lake, commit: str, change: Any) -> tuple[str, int | None]:
    stats = change.right  # experimental in lakeFS: older servers leave it out
    if stats is None or stats.metadata is None:
        path = change.path
        stats = lake.call(lambda: lake.api.objects_api.stat_object(lake.repository, commit, path))
    return change.path, rows_in(stats.metadata)


def _watermarks(lake: Lake, commit: str, changes: list[Any]) -> str:
    sources = sorted(source for change in changes if (source := watermark_source(change.path)))
    reached = {}
    for source in sources:
        watermark = read_watermark(lake, CommitRef(lake.repository, commit), source)
        if watermark is not None:
            reached[source] = [[p.table, p.kind, p.value] for p in watermark.positions]
    return json.dumps(reached) if reached else ""
