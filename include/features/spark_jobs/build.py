"""A table from its change log: history and current state, as files per bucket of keys.

The files follow from the changes alone, whichever way they were reached: from the whole log, or from the
history so far and what came since.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.features.spark_jobs.change_facts import Facts
from include.features.spark_jobs.current import current_files, write_empty
from include.features.spark_jobs.events import SNAPSHOT, Reader
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


def buckets_of(reader: Reader, changes: "DataFrame") -> frozenset[int]:
    """The buckets of the keys that some changes touch."""
    from pyspark.sql import functions as sf

    sides = {"old": "old_special", "row": "special"}
    buckets = [
        sf.when(sf.col(side).isNotNull(), reader.bucket(reader.keyed(sf.col(side), sf.col(special))))
        for side, special in sides.items()
    ]
    found: Any = changes.agg(sf.array_union(*[sf.collect_set(bucket) for bucket in buckets])).first()
    return frozenset(found[0])


def history_of(
    reader: Reader,
    changes: "DataFrame",
    facts: Facts,
    buckets: frozenset[int],
    before: "DataFrame | None" = None,
) -> "DataFrame":
    """The versions of all rows in some buckets, in the columns of the history, each bucket in one part.

    They are in order of the bucket, of the key, and within it of the log.

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

    by, keyed, wanted = reader.by, bool(reader.key), sf.col("bucket").isin(sorted(buckets))
    events = reader.events(changes)
    ended = None
    if before is not None:
        held = _held(reader, before)
        ended = held.where(sf.col("to_lsn").isNotNull() & wanted)
        events = events.unionByName(_begun(held.where(sf.col("to_lsn").isNull()), by))
    # All that follows keeps a bucket in one part, and its keys in order: rows move and are sorted once.
    events = without_repeated(events.repartition("bucket"), by, keyed)
    if facts.unchanged:
        events = with_unchanged(events, by, facts.unchanged).repartition("bucket")
    events = events.where(wanted)
    truncated = _places(facts)
    if not keyed:
        events = numbered(events, by, truncated)
    found = versions(events, by, truncated)
    if ended is not None:
        found = found.unionByName(ended).repartition("bucket")
    named = zip(VALIDITY, _HELD, strict=True)
    # Of a key's versions no two begin at one place; of equal rows without a key many may.
    place = ("from_lsn",) if keyed else ("from_lsn", "to_lsn")
    in_order = in_order_of_time(found, by, keyed).sortWithinPartitions(*by, *place)
    return in_order.select(
        *[sf.col("row").getField(name).alias(name) for name in reader.layout.columns],
        *[sf.col(own).alias(name) for name, own in named],
        sf.col("special").alias(SPECIAL),
        sf.col("bucket").alias("_bucket"),
    )


def write_tables(
    reader: Reader, history: "DataFrame", buckets: frozenset[int], output: Path
) -> tuple[dict[int, Path], dict[int, Path]]:
    """Write a history and the current state that follows from it, as they are ordered.

    Args:
        reader: Of the log.
        history: Of some buckets, as `history_of` gives it.
        buckets: Those.
        output: A folder of the caller's.

    Returns:
        Files of the history and of the current state by bucket. One without rows has none, except the first:
        whoever reads a table learns the columns, even where it has no rows.
    """
    folder, current = output / "history", output / "current"
    history.write.partitionBy("_bucket").parquet(str(folder))
    files = _by_bucket(folder)
    if 0 in buckets and not files:
        empty = reader.spark.createDataFrame([], history.drop("_bucket").schema)
        empty.coalesce(1).write.mode("overwrite").parquet(str(folder))
        (files[0],) = folder.glob("*.parquet")
    elif 0 in buckets - files.keys():
        files[0] = folder / "empty.parquet"
        write_empty(next(iter(files.values())), files[0])
    current.mkdir()
    return files, current_files(files, (*reader.layout.current, SPECIAL), current)


def _held(reader: Reader, history: "DataFrame") -> "DataFrame":
    """Versions as a history holds them."""
    from pyspark.sql import functions as sf

    row = sf.struct(*[sf.col(_quoted(name)).alias(name) for name in reader.layout.columns])
    named = zip(VALIDITY, _HELD, strict=True)
    keyed = history.select(
        row.alias("row"), sf.col(SPECIAL).alias("special"), *[sf.col(name).alias(own) for name, own in named]
    ).withColumn("key", reader.keyed(sf.col("row"), sf.col("special")))
    return keyed.select(*reader.parts(sf.col("key")), *VERSION)


def _begun(held: "DataFrame", by: Sequence[str]) -> "DataFrame":
    """The events that begin versions which still are."""
    from pyspark.sql import functions as sf

    return held.select(
        *by,
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


def _by_bucket(folder: Path) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for part in sorted(folder.glob("_bucket=*")):
        (file,) = part.glob("*.parquet")
        files[int(part.name.partition("=")[2])] = file
    return files


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
