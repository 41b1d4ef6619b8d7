"""The tables of a publication as they were when a slot began, read in parallel ranges.

A range is a span of a table's blocks, so that ranges cost what they hold, need no index and no key, and
several are read at once. All join the snapshot that the slot exported, so that together they are one instant:
what commits later is in the slot, and only there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from include.ingestion.connectors import postgres
from include.ingestion.connectors.postgres_cdc import SESSION, catalogue
from include.ingestion.connectors.postgres_slot import Feed, NewSlot, connected
from include.ingestion.pgoutput.changes import ChangeBatch, Layout
from include.ingestion.pgoutput.reads import NATIVE, read_batch
from include.ingestion.pgoutput.shape import ShapeColumn, TableShape
from include.ingestion.pgoutput.types import Reading

RANGE_BYTES = 128 * 2**20
# text, varchar, char and name arrive as their own text; a cast would cut the padding of char.
_OWN_TEXT = frozenset([25, 1043, 1042, 19])
_NUMBERS = {
    pa.int16(): "int2",
    pa.int32(): "int4",
    pa.int64(): "int8",
    pa.float32(): "float4",
    pa.float64(): "float8",
}
_IDENTITIES = {"d": "default", "n": "nothing", "f": "full", "i": "index"}
_TABLES = """
    SELECT c.oid::bigint, n.nspname, c.relname, c.relreplident::text, p.attnames::text[], p.rowfilter
    FROM pg_publication_tables p
    JOIN pg_namespace n ON n.nspname = p.schemaname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
    WHERE p.pubname = %s
    ORDER BY 2, 3
"""
_COLUMNS = """
    SELECT a.attname, a.atttypid::bigint, a.atttypmod, CASE c.relreplident
        WHEN 'f' THEN true
        WHEN 'n' THEN false
        ELSE EXISTS (
            SELECT FROM pg_index i
            WHERE i.indrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
            AND CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END
        )
    END
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE a.attrelid = %s AND a.attname = ANY (%s) AND NOT a.attisdropped
    ORDER BY a.attnum
"""
_LEAVES = """
    SELECT n.nspname, c.relname, pg_relation_size(c.oid) / current_setting('block_size')::bigint,
        current_setting('block_size')::bigint
    FROM (SELECT relid FROM pg_partition_tree(%(table)s) WHERE isleaf UNION SELECT %(table)s) leaf
    JOIN pg_class c ON c.oid = leaf.relid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r'
    ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Range:
    """A span of blocks of a published table, or of one of its partitions.

    Args:
        layout: Of the published table.
        schema_name: Schema of the table or partition that is read.
        relation: Its name.
        first_block: Where it begins.
        end_block: Where it ends; None for the end of the table.
        row_filter: The publication's condition, as the server spells it; None for all rows.
    """

    layout: Layout
    schema_name: str
    relation: str
    first_block: int
    end_block: int | None
    row_filter: str | None

    @property
    def shape(self) -> TableShape:
        """The published table."""
        return self.layout.shape


def snapshot_ranges(feed: Feed, *, range_bytes: int = RANGE_BYTES) -> tuple[Range, ...]:
    """The ranges that all tables of a publication are read in; every row is in exactly one.

    Args:
        feed: Names the publication.
        range_bytes: Of table to read at a time.

    Raises:
        UnsupportedType: A table has a column that cannot be kept.
        DatabaseError: The server broke off.
    """
    with connected(feed) as connection:
        tables = connection.execute(_TABLES, (feed.publication,)).fetchall()
        return tuple(
            part
            for oid, schema_name, table, identity, columns, row_filter in tables
            for part in _ranges(
                connection,
                _layout(connection, (oid, schema_name, table, identity), columns),
                row_filter,
                range_bytes,
            )
        )


def read_range(feed: Feed, slot: NewSlot, part: Range) -> Iterator[ChangeBatch]:
    """The rows of one range as of the slot's begin, while the slot's block is open.

    Args:
        feed: What is read.
        slot: Gives the snapshot.
        part: One of `snapshot_ranges`.

    Raises:
        UnreadableValue: A value is none of its column's type.
        DatabaseError: The server broke off, or the snapshot is gone.
    """
    with postgres.connected(feed.dsn, feed.name, slot.snapshot) as cursor:
        for name, value in SESSION.items():
            cursor.execute(f"SET LOCAL {name} = {sql.Literal(value).as_string(None)}")
        cursor.execute(_select(part))
        for batch in cursor.fetch_record_batch():
            columns = {name: _stored(batch.column(name)) for name in batch.schema.names}
            if batch.num_rows:
                yield read_batch(part.layout, columns, slot.position.lsn)


def _layout(
    connection: psycopg.Connection[Any], table: tuple[int, str, str, str], columns: list[str]
) -> Layout:
    oid, schema_name, name, identity = table
    rows = connection.execute(_COLUMNS, (oid, columns)).fetchall()
    types = catalogue(connection)({row[1] for row in rows})
    described = tuple(
        ShapeColumn(column, types[kind].name, kind, modifier, key) for column, kind, modifier, key in rows
    )
    shape = TableShape(oid, schema_name, name, _IDENTITIES[identity], described)  # type: ignore[arg-type]
    return Layout.of(shape, types)


def _ranges(
    connection: psycopg.Connection[Any], layout: Layout, row_filter: str | None, range_bytes: int
) -> Iterator[Range]:
    leaves = connection.execute(_LEAVES, {"table": layout.shape.relation_id}).fetchall()
    for schema_name, relation, blocks, block_bytes in leaves:
        step = max(range_bytes // block_bytes, 1)
        starts = range(0, max(blocks, 1), step)
        for start in starts:
            # The last one is open: the table may have grown before the snapshot was taken.
            end = None if start == starts[-1] else start + step
            yield Range(layout, schema_name, relation, start, end, row_filter)


def _select(part: Range) -> str:
    selected = [
        _selected(column, how) for column, how in zip(part.shape.columns, part.layout.readings, strict=True)
    ]
    conditions = [sql.SQL("ctid >= {}").format(_block(part.first_block))]
    if part.end_block is not None:
        conditions.append(sql.SQL("ctid < {}").format(_block(part.end_block)))
    if part.row_filter is not None:
        conditions.append(sql.SQL("({})").format(sql.SQL(part.row_filter)))
    statement = sql.SQL("SELECT {} FROM ONLY {} WHERE {}").format(
        sql.SQL(", ").join(selected),
        sql.Identifier(part.schema_name, part.relation),
        sql.SQL(" AND ").join(conditions),
    )
    return statement.as_string(None)


def _block(number: int) -> sql.Composable:
    return sql.SQL("{}::tid").format(sql.Literal(f"({number},0)"))


def _selected(column: ShapeColumn, how: Reading) -> sql.Composable:
    """The column as `read_batch` takes it: a value, or the very text that the stream would bring."""
    name = sql.Identifier(column.name)
    if column.type_oid in _OWN_TEXT or how.how in NATIVE - {"number"}:
        return name
    if how.how == "number":
        return sql.SQL("{}::{} AS {}").format(name, sql.SQL(_NUMBERS[how.arrow]), name)
    if how.how == "text":
        # Some types have a cast to text that differs from their output, such as inet.
        form = sql.SQL("CASE WHEN {} IS DISTINCT FROM NULL THEN format('%s', {}) END AS {}")
        return form.format(name, name, name)
    return sql.SQL("{}::text AS {}").format(name, name)


def _stored(array: pa.Array) -> pa.Array:
    return getattr(array, "storage", array)
