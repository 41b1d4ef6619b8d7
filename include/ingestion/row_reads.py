"""Tables that are read row by row, from a database or an API: whole, or only what is new of them."""

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from include.ingestion import contracts
from include.ingestion.ahead import ahead
from include.ingestion.connectors import postgres
from include.ingestion.connectors.access import setting
from include.ingestion.merging import Merge, merging, write_fresh
from include.ingestion.quarantine import Reading, referred_columns, whole
from include.ingestion.snapshot import FOLDER, Manifest, Part, write_parts
from include.ingestion.spans import (
    EVERYTHING,
    Asked,
    Span,
    asked_span,
    cursor_of,
    cursor_text,
    next_span,
    partitions,
)
from include.lake import checkout, read_watermark
from include.settings import Settings
from include.spec.reads import DatabaseTable, RestApi, SqlTable
from include.spec.refs import CommitRef
from include.spec.source import Table

if TYPE_CHECKING:
    from include.ingestion.batch import Desk

# How the watermark tells how far a table was read: its kind and value.
Reached = tuple[str, str]


class RowReader(Protocol):
    """What a database and an API have in common."""

    def shown(self, table: Table) -> str:
        """Where the rows of a table come from, for people."""

    def read(self, table: Table, span: Span = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """The rows of a table within a span of its cursor, as declared."""


@contextmanager
def opened(
    settings: Settings, read: DatabaseTable | SqlTable | RestApi, origin: str
) -> Iterator[tuple[RowReader, int]]:
    """What the tables of one origin are read through, and how many of them may be read at once.

    Args:
        settings: Where it is, and the secrets.
        read: Of any of its tables.
        origin: How errors call it.

    Raises:
        DatabaseError: It cannot be reached.
    """
    if isinstance(read, DatabaseTable):
        with postgres.snapshot(setting(settings, read.dsn), origin) as instant:
            yield instant, 2
    elif isinstance(read, SqlTable):
        from include.ingestion.connectors.sql import database

        with database(settings, read.url, origin) as transaction:
            yield transaction, 1
    else:
        from include.ingestion.connectors.rest import Api

        yield Api(settings, origin), 1


def write_rows(
    desk: "Desk",
    table: Table,
    reader: RowReader,
    folder: Path,
    base: Manifest | None,
    reading: Reading,
    asked: Asked,
) -> tuple[Manifest, Reached | None]:
    """Write the files of a table's snapshot; the same rows make the same files, whatever was read of them.

    Args:
        desk: Where.
        table: The declaration.
        reader: Gives its rows.
        folder: Where the files go.
        base: The snapshot that main has.
        reading: Takes out what breaks the contract.
        asked: What to read of an incremental table.

    Returns:
        What the snapshot holds, and the watermark; None for that of a whole snapshot.

    Raises:
        ContractError: A row is not as declared.
    """
    if isinstance(table.read, RestApi) or table.read.incremental is not None:
        return _merged(desk, table, reader, folder, base, reading, asked)
    # While one batch is encoded the next one is on its way.
    with closing(ahead(reader.read(table))) as batches:
        rows = reading.sieve.passed(batches, reading.origin(whole(table)))
        parts = write_parts(contracts.arrow_schema(table), rows, folder, part_names(desk))
    return Manifest(table.contract_hash, parts), None


def part_names(desk: "Desk") -> Iterator[str]:
    """Names of the files that a draft's run writes, without end."""
    return (f"{desk.draft.branch}-{number:05d}.parquet" for number in itertools.count())


def _merged(
    desk: "Desk",
    table: Table,
    reader: RowReader,
    folder: Path,
    base: Manifest | None,
    reading: Reading,
    asked: Asked,
) -> tuple[Manifest, Reached | None]:
    reached = _reached(desk, table, base)
    spans, replaced, kept = _plan(table, reached, asked)
    held = base if base is not None and kept else None
    fresh = folder.parent / "fresh.parquet"
    batches = itertools.chain.from_iterable(reader.read(table, span) for span in spans)
    with closing(ahead(batches)) as rows:
        write_fresh(table, rows, fresh)
    looked_at = bool(table.refers_to or referred_columns(desk.source, table))
    with _local(desk, table, held) as files, merging(folder.parent) as connection:
        merge = Merge(connection, table, fresh, files, replaced)
        skipped = 0 if looked_at else merge.untouched()
        passed = reading.sieve.passed(merge.batches(skipped), reading.origin(whole(table)))
        parts: tuple[Part, ...] = ()
        if held is None or skipped < len(held.parts):
            parts = write_parts(contracts.arrow_schema(table), passed, folder, part_names(desk))
        manifest = Manifest(table.contract_hash, (*(held.parts[:skipped] if held else ()), *parts))
        return manifest, _position(table, merge, reached if held else None)


def _plan(table: Table, reached: str | None, asked: Asked) -> tuple[list[Span], Span | None, bool]:
    """What to read, what of the lake's rows it replaces, and whether the others are kept."""
    incremental = table.read.incremental
    if incremental is None:
        return [EVERYTHING], None, False
    now = datetime.now(UTC)
    if asked.everything or reached is None:
        return list(partitions(table, EVERYTHING, now)), None, False
    if asked.since or asked.until:
        span = asked_span(table, asked.since, asked.until)
        return list(partitions(table, span, now)), span, True
    return [next_span(incremental, table.column(incremental.cursor), reached)], None, True


def _reached(desk: "Desk", table: Table, base: Manifest | None) -> str | None:
    """How far the lake has the table; None where it must be read whole."""
    if table.read.incremental is None or base is None or base.contract != table.contract_hash:
        return None
    at = CommitRef(desk.draft.repository, desk.draft.base)
    watermark = read_watermark(desk.lake, at, desk.source.name)
    found = [
        position.value
        for position in (watermark.positions if watermark else ())
        if position.table == table.name and position.kind == "cursor"
    ]
    return found[0] if found else None


def _position(table: Table, merge: Merge, reached: str | None) -> Reached | None:
    incremental = table.read.incremental
    if incremental is None:
        return None
    column = table.column(incremental.cursor)
    highest = merge.highest(column.name)
    known = [] if reached is None else [cursor_of(column, reached)]
    known += [] if highest is None else [highest]
    return ("cursor", cursor_text(max(known))) if known else None


@contextmanager
def _local(desk: "Desk", table: Table, held: Manifest | None) -> Iterator[list[Path]]:
    """The files of the snapshot that main has."""
    if held is None or not held.parts:
        yield []
        return
    prefix = f"{desk.source.prefix(table.name)}/{FOLDER}"
    with checkout(desk.lake, CommitRef(desk.draft.repository, desk.draft.base), prefix) as found:
        yield [found.folder / prefix / part.name for part in held.parts]
