"""Tables of the lake: what lies there at a ref, and what changed between two.

A table is a folder of Parquet files (`layout.table_of`). Rows come from what the uploader recorded, else from
the file's footer by a range read; no data page is ever fetched.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from include.lake.connection import Lake, ref_name
from include.lake.errors import CorruptParquet, NotFound, UnknownTable
from include.lake.layout import table_of
from include.lake.objects import ObjectFile, ObjectStat, Ref, list_objects, stat_or_none
from include.spec.refs import CommitRef

THREADS = 8
SUGGESTED = 5


@dataclass(frozen=True)
class TableStat:
    """A table at one ref: its path, and the files, bytes and rows in it."""

    table: str
    files: int
    size_bytes: int
    rows: int


@dataclass(frozen=True)
class Column:
    """A column as Arrow reads it."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True)
class Table:
    """A table with its columns, and its files in order of path."""

    stat: TableStat
    columns: tuple[Column, ...]
    files: tuple[ObjectStat, ...]


@dataclass(frozen=True)
class TableDiff:
    """What one table gained and lost between two refs; a changed file counts in neither, its rows in both."""

    table: str
    files_added: int
    files_removed: int
    files_changed: int
    rows_added: int
    rows_removed: int


def list_tables(lake: Lake, ref: Ref, prefix: str = "") -> tuple[TableStat, ...]:
    """The tables at a ref, in order of path; reads the whole listing under the prefix.

    Raises:
        UnknownRef: There is no such ref.
        CorruptParquet: A file without recorded rows is not readable as Parquet.
    """
    tables: dict[str, list[ObjectStat]] = defaultdict(list)
    for stat in list_objects(lake, ref, prefix):
        table = table_of(stat.path)
        if table is not None:
            tables[table].append(stat)
    rows = count_rows(lake, ref, [stat for stats in tables.values() for stat in stats])
    return tuple(_table_stat(table, stats, rows) for table, stats in sorted(tables.items()))


def show_table(lake: Lake, ref: Ref, table: str) -> Table:
    """One table with its columns, as its last file has them.

    Raises:
        UnknownTable: There is no such table at this ref; it names those that there are.
        CorruptParquet: Its last file is not readable as Parquet.
    """
    name = table.removesuffix("/")
    files = tuple(stat for stat in list_objects(lake, ref, name) if table_of(stat.path) == name)
    if not files:
        raise _unknown_table(lake, ref, name)
    schema = _footer(lake, ref, files[-1]).schema.to_arrow_schema()
    columns = tuple(Column(field.name, str(field.type), field.nullable) for field in schema)
    return Table(_table_stat(name, files, count_rows(lake, ref, files)), columns, files)


def diff_tables(lake: Lake, before: CommitRef, after: CommitRef) -> tuple[TableDiff, ...]:
    """What changed from one commit to another, per table; cost goes with the changes.

    Raises:
        UnknownRef: There is no such commit.
    """
    try:
        changes = [
            change
            for change in lake.pages(lake.api.refs_api.diff_refs, before.commit, after.commit, type="two_dot")
            if table_of(change.path) is not None
        ]
    except NotFound as error:
        raise lake.unknown_ref(f"{before.commit} or {after.commit}") from error
    added = _rows_of(lake, after, [c.path for c in changes if c.type in {"added", "changed"}])
    removed = _rows_of(lake, before, [c.path for c in changes if c.type in {"removed", "changed"}])
    tables: dict[str, list[Any]] = defaultdict(list)
    for change in changes:
        tables[table_of(change.path) or ""].append(change)
    return tuple(
        TableDiff(
            table=table,
            files_added=sum(c.type == "added" for c in of_table),
            files_removed=sum(c.type == "removed" for c in of_table),
            files_changed=sum(c.type == "changed" for c in of_table),
            rows_added=sum(added.get(c.path, 0) for c in of_table),
            rows_removed=sum(removed.get(c.path, 0) for c in of_table),
        )
        for table, of_table in sorted(tables.items())
    )


def count_rows(lake: Lake, ref: Ref, files: Iterable[ObjectStat]) -> dict[str, int]:
    """Rows per path, from what the uploader recorded or else from the footers.

    Raises:
        CorruptParquet: A file is not readable as Parquet.
    """

    def rows(stat: ObjectStat) -> tuple[str, int]:
        recorded = stat.rows
        return stat.path, int(_footer(lake, ref, stat).num_rows) if recorded is None else recorded

    with ThreadPoolExecutor(THREADS) as threads:
        return dict(threads.map(rows, files))


def _rows_of(lake: Lake, ref: CommitRef, paths: list[str]) -> dict[str, int]:
    with ThreadPoolExecutor(THREADS) as threads:
        stats = threads.map(lambda path: stat_or_none(lake, ref, path), paths)
        return count_rows(lake, ref, [stat for stat in stats if stat is not None])


def _footer(lake: Lake, ref: Ref, stat: ObjectStat) -> Any:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        return pq.read_metadata(ObjectFile(lake, ref, stat))
    except ArrowException as error:
        raise CorruptParquet(
            f"an object is not readable as Parquet: {str(error).splitlines()[0]}",
            remedy="Replace it, or revert the commit that added it.",
            path=stat.path,
            ref=ref_name(ref),
        ) from error


def _table_stat(table: str, files: Iterable[ObjectStat], rows: Mapping[str, int]) -> TableStat:
    listed = list(files)
    return TableStat(
        table=table,
        files=len(listed),
        size_bytes=sum(stat.size_bytes for stat in listed),
        rows=sum(rows[stat.path] for stat in listed),
    )


def _unknown_table(lake: Lake, ref: Ref, table: str) -> UnknownTable:
    folder = table.rpartition("/")[0]
    near = {found for stat in list_objects(lake, ref, folder) if (found := table_of(stat.path))}
    known = ", ".join(sorted(near)[:SUGGESTED])
    remedy = f"There are: {known}." if known else "`headrace lake tables` lists what is there."
    return UnknownTable("the lake has no such table", remedy=remedy, table=table, ref=ref_name(ref))
