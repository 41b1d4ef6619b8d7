"""What is to be known of changes before their rows are looked at: from a few columns of their files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from include.features.errors import StagingError
from include.features.spark_jobs.events import SNAPSHOT
from include.features.spark_jobs.shapes import Period

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ("operation", "commit_lsn", "sequence", "committed_at", "unchanged", "old")


@dataclass(frozen=True)
class Facts:
    """Facts of some changes.

    Args:
        unchanged: Columns whose value any of them left out.
        truncated: Where they emptied the table, in order, and when, in microseconds since 1970.
    """

    unchanged: tuple[str, ...]
    truncated: tuple[tuple[int, int, int | None], ...]


def facts_of(
    files: Sequence[tuple[Period, Sequence[str]]], key: Sequence[str], made_anew: Sequence[int] = ()
) -> Facts:
    """The facts of the changes in some files.

    Args:
        files: Local ones, by the period that each is of.
        key: Columns that name a row; none where all of a row does.
        made_anew: Positions of the first commits of a table that was made anew: what was before is gone.

    Raises:
        StagingError: An update or a delete does not tell which row it is about.
    """
    kept: set[str] = set()
    truncated: set[tuple[int, int, int | None]] = set()
    begun: dict[int, int | None] = dict.fromkeys(made_anew)
    for period, paths in files:
        names = dict(zip(period.shape.names, period.names, strict=True))
        columns = zip(period.shape.columns, period.names, strict=True)
        told = set(key) <= {name for column, name in columns if column.told}
        for batch in _batches(paths):
            _check(batch, key, told=told)
            kept |= {names.get(name, name) for name in batch["unchanged"].flatten().unique().to_pylist()}
            truncated |= set(_truncations(batch))
            for position in begun:
                begun[position] = _earliest(batch, position, begun[position])
    emptied = [*truncated, *((position, SNAPSHOT - 1, at) for position, at in begun.items())]
    return Facts(tuple(sorted(kept)), tuple(sorted(emptied, key=lambda one: one[:2])))


def _batches(paths: Sequence[str]) -> Iterator["pa.RecordBatch"]:
    import pyarrow.parquet as pq

    for path in paths:
        with pq.ParquetFile(path) as file:
            there = [name for name in _COLUMNS if name in file.schema_arrow.names]
            yield from file.iter_batches(columns=there)


def _check(batch: "pa.RecordBatch", key: Sequence[str], *, told: bool) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    operation = batch["operation"].cast(pa.string())
    deletes, updates = pc.equal(operation, "delete"), pc.equal(operation, "update")
    old = pc.is_valid(batch["old"]) if "old" in batch.schema.names else pa.array([False] * len(batch))
    if key:
        known = pc.and_(old, told)
        untold = pc.or_(pc.and_not(deletes, known), pc.and_not(pc.and_(updates, old), told))
    else:
        untold = pc.and_not(pc.or_(deletes, updates), old)
    if pc.any(untold).as_py():
        first: Any = pc.min(batch["commit_lsn"].filter(untold)).as_py()
        raise StagingError(
            f"An update or delete of the commit at {first:X} does not tell which row it is about: "
            f"the old row's {', '.join(key) or 'columns'}.",
            remedy="Let the source tell: ALTER TABLE ... REPLICA IDENTITY FULL, or USING INDEX over the "
            "declared key; then begin the capture anew.",
        )


def _truncations(batch: "pa.RecordBatch") -> Iterator[tuple[int, int, int | None]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = batch.filter(pc.equal(batch["operation"].cast(pa.string()), "truncate"))
    for row in rows.select(["commit_lsn", "sequence", "committed_at"]).to_pylist():
        yield row["commit_lsn"], row["sequence"], _micros(row["committed_at"])


def _earliest(batch: "pa.RecordBatch", position: int, before: int | None) -> int | None:
    import pyarrow.compute as pc

    found = pc.min(batch["committed_at"].filter(pc.equal(batch["commit_lsn"], position))).as_py()
    return min((at for at in (before, _micros(found)) if at is not None), default=None)


def _micros(at: Any) -> int | None:
    """Microseconds since 1970; exactly, where a float of seconds would not be."""
    from datetime import UTC, datetime, timedelta

    return None if at is None else (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
