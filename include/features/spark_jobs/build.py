"""A table from its change log: history and current state, as files per bucket of keys.

The files follow from the changes alone, whichever way they were reached: from the whole log, or from the
history so far and what came since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.features.errors import StagingError
from include.features.spark_jobs.events import PLACE, SNAPSHOT, Reader
from include.features.spark_jobs.versions import (
    VERSION,
    in_order_of_time,
    numbered,
    versions,
    with_unchanged,
    without_repeated,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

SPECIAL = "_special"
VALIDITY = ("valid_from", "valid_to", "_from_lsn", "_to_lsn")
RESERVED = (*VALIDITY, SPECIAL, "_bucket")
_HELD = ("from_at", "to_at", "from_lsn", "to_lsn")
_TRUNCATED = "array<struct<commit_lsn: bigint, sequence: bigint, at: timestamp>>"


@dataclass(frozen=True)
class Facts:
    """What is to be known of changes before their rows are looked at.

    Args:
        buckets: Those of the keys that they touch.
        unchanged: Columns whose value any of them left out.
        truncated: Where they emptied the table, in order, and when, in microseconds since 1970.
    """

    buckets: frozenset[int]
    unchanged: tuple[str, ...]
    truncated: tuple[tuple[int, int, int | None], ...]


def facts_of(reader: Reader, changes: "DataFrame", made_anew: Sequence[int] = ()) -> Facts:
    """The facts of some changes.

    Args:
        reader: Of the log.
        changes: Some of it.
        made_anew: Positions of the first commits of a table that was made anew: what was before is gone.

    Raises:
        StagingError: An update or a delete does not tell which row it is about.
    """
    from pyspark.sql import functions as sf

    operation, old = sf.col("operation"), sf.col("old").isNotNull()
    if reader.key:
        untold = ((operation == "delete") & ~(old & sf.col("told"))) | (
            (operation == "update") & old & ~sf.col("told")
        )
    else:
        untold = operation.isin("update", "delete") & ~old
    told: Any = changes.agg(
        sf.min(sf.when(untold, sf.col("commit_lsn"))).alias("untold"),
        sf.array_distinct(
            sf.flatten(sf.collect_set(sf.when(sf.size("unchanged") > 0, sf.col("unchanged"))))
        ).alias("kept"),
        sf.collect_set(
            sf.when(operation == "truncate", sf.struct(*PLACE, sf.unix_micros("committed_at").alias("at")))
        ).alias("truncated"),
    ).first()
    if told["untold"] is not None:
        raise StagingError(
            f"An update or delete of the commit at {told['untold']:X} does not tell which row it is about: "
            f"the old row's {', '.join(reader.key) or 'columns'}.",
            remedy="Let the source tell: ALTER TABLE ... REPLICA IDENTITY FULL, or USING INDEX over the "
            "declared key; then begin the capture anew.",
        )
    touched = reader.events(changes).select("bucket").distinct().collect()
    truncated = [(one["commit_lsn"], one["sequence"], one["at"]) for one in told["truncated"]]
    for position in made_anew:
        begun: Any = changes.where(sf.col("commit_lsn") == position).agg(
            sf.unix_micros(sf.min("committed_at"))
        )
        truncated.append((position, SNAPSHOT - 1, begun.first()[0]))
    truncated.sort()
    return Facts(frozenset(row["bucket"] for row in touched), tuple(sorted(told["kept"])), tuple(truncated))


def history_of(
    reader: Reader,
    changes: "DataFrame",
    facts: Facts,
    buckets: frozenset[int],
    before: "DataFrame | None" = None,
) -> "DataFrame":
    """The versions of all rows in some buckets, in the columns of the history.

    Args:
        reader: Of the log.
        changes: All, or those since `before`.
        facts: Of these changes.
        buckets: Those wanted.
        before: The history of these buckets so far, where changes are only what came since.

    Raises:
        StagingError: A value was left out that no change before tells.
    """
    from pyspark.sql import functions as sf

    keyed = bool(reader.key)
    events = reader.events(changes)
    ended = None
    if before is not None:
        held = _held(reader, before)
        ended = held.where(sf.col("to_lsn").isNotNull() & sf.col("bucket").isin(sorted(buckets)))
        events = events.unionByName(_begun(held.where(sf.col("to_lsn").isNull())))
    events = without_repeated(events, keyed)
    if facts.unchanged:
        events = with_unchanged(events, facts.unchanged)
    events = events.where(sf.col("bucket").isin(sorted(buckets)))
    truncated = _places(facts)
    if not keyed:
        events = numbered(events, truncated)
    found = versions(events, truncated)
    if ended is not None:
        found = found.unionByName(ended)
    named = zip(VALIDITY, _HELD, strict=True)
    return in_order_of_time(found, keyed).select(
        *[sf.col("row").getField(name).alias(name) for name in reader.layout.columns],
        *[sf.col(own).alias(name) for name, own in named],
        sf.col("special").alias(SPECIAL),
        sf.col("bucket").alias("_bucket"),
    )


def write_tables(
    reader: Reader, history: "DataFrame", output: Path
) -> tuple[dict[int, Path], dict[int, Path]]:
    """Write a history and the current state that follows from it, in order of their keys.

    Returns:
        Files of the history and of the current state by bucket; one without rows has none.
    """
    from pyspark.sql import functions as sf

    whole = output / "history"
    _write(reader, history, whole, ("_from_lsn", "_to_lsn"))
    written = reader.spark.read.schema(history.schema).parquet(str(whole))
    columns = [sf.col(_quoted(name)) for name in (*reader.layout.current, SPECIAL, "_bucket")]
    _write(reader, written.where(sf.col("_to_lsn").isNull()).select(*columns), output / "current", ())
    return _by_bucket(whole), _by_bucket(output / "current")


def empty_file(reader: Reader, columns: Sequence[str], history: "DataFrame", output: Path) -> Path:
    """A file of a table without rows.

    Args:
        reader: Of the log.
        columns: Of the table.
        history: Has these columns.
        output: A folder to write it into.
    """
    schema = history.select(*[_quoted(name) for name in columns]).schema
    reader.spark.createDataFrame([], schema).coalesce(1).write.parquet(str(output))
    (file,) = output.glob("*.parquet")
    return file


def _held(reader: Reader, history: "DataFrame") -> "DataFrame":
    """Versions as a history holds them."""
    from pyspark.sql import functions as sf

    row = sf.struct(*[sf.col(_quoted(name)).alias(name) for name in reader.layout.columns])
    named = zip(VALIDITY, _HELD, strict=True)
    keyed = history.select(
        row.alias("row"), sf.col(SPECIAL).alias("special"), *[sf.col(name).alias(own) for name, own in named]
    ).withColumn("key", reader.keyed(sf.col("row"), sf.col("special")))
    return keyed.withColumn("bucket", reader.bucket(sf.col("key"))).select(*VERSION)


def _begun(held: "DataFrame") -> "DataFrame":
    """The events that begin versions which still are."""
    from pyspark.sql import functions as sf

    return held.select(
        "bucket",
        "key",
        sf.col("from_lsn").alias("commit_lsn"),
        # Whatever it was, all changes that came since are of later commits; and equal rows are no repetition.
        sf.lit(SNAPSHOT).cast("bigint").alias("sequence"),
        sf.lit(True).alias("begins"),
        sf.lit(True).alias("fresh"),
        sf.lit(False).alias("moved"),
        "row",
        "special",
        sf.array().cast("array<string>").alias("unchanged"),
        sf.col("from_at").alias("committed_at"),
    )


def _places(facts: Facts) -> "Column":
    from pyspark.sql import functions as sf

    structs = [
        sf.struct(
            sf.lit(lsn).alias("commit_lsn"),
            sf.lit(sequence).alias("sequence"),
            sf.timestamp_micros(sf.lit(at).cast("bigint")).alias("at"),
        )
        for lsn, sequence, at in facts.truncated
    ]
    return sf.array(*structs).cast(_TRUNCATED)


def _write(reader: Reader, frame: "DataFrame", folder: Path, then: tuple[str, ...]) -> None:
    """One file per bucket, whose rows have one order: of the key, and within it of the log."""
    from pyspark.sql import functions as sf

    naming = [name for name in reader.naming if name in frame.columns]
    texts = sf.array(*[sf.col(SPECIAL)[name] for name in naming])
    order = [
        sf.col("_bucket"),
        *[sf.col(_quoted(name)) for name in naming],
        texts,
        *[sf.col(one) for one in then],
    ]
    parts = frame.repartition(reader.buckets, "_bucket").sortWithinPartitions(*order)
    parts.write.partitionBy("_bucket").parquet(str(folder))


def _by_bucket(folder: Path) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for part in sorted(folder.glob("_bucket=*")):
        (file,) = part.glob("*.parquet")
        files[int(part.name.partition("=")[2])] = file
    return files


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
