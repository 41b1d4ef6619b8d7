"""From events of keys to versions of rows: who had which row from when to when.

A version is a row of `bucket`, `key`, `row`, `special`, `from_lsn`, `to_lsn`, `from_at` and `to_at`; what
still is has no end. States that no commit left behind are no versions: only their transaction saw them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from include.features.errors import StagingError
from include.features.spark_jobs.events import PLACE, SNAPSHOT

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

VERSION = ("bucket", "key", "row", "special", "from_lsn", "to_lsn", "from_at", "to_at")
_KEY = ("bucket", "key")


def without_repeated(events: "DataFrame", keyed: bool) -> "DataFrame":
    """Each event once, however often it was brought.

    A row of the snapshot is the same as another by its key; where rows have none, all of them count.
    """
    from pyspark.sql import functions as sf
    from pyspark.sql.window import Window

    order = Window.partitionBy(*_KEY).orderBy(*PLACE, "begins")
    place = sf.struct(*PLACE, "begins")
    again = place.eqNullSafe(sf.lag(place).over(order)) & (sf.lit(keyed) | (sf.col("sequence") != SNAPSHOT))
    return events.withColumn("again", again).where(~sf.col("again")).drop("again")


def numbered(events: "DataFrame", truncated: "Column") -> "DataFrame":
    """Equal rows of a table without a key told apart: an ending is of the eldest that still is.

    Args:
        events: Of such a table.
        truncated: As for `versions`.
    """
    from pyspark.sql import functions as sf
    from pyspark.sql.window import Window

    by_epoch = [*_KEY, "epoch"]
    order = Window.partitionBy(*by_epoch).orderBy(*PLACE, "begins")
    so_far = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    before = order.rowsBetween(Window.unboundedPreceding, -1)
    step = sf.when(sf.col("begins"), 1).otherwise(-1)
    epochs = events.withColumn(
        "epoch", sf.size(sf.filter(truncated, lambda one: place_of(one) < sf.struct(*PLACE)))
    )
    summed = epochs.withColumn("level", sf.sum(step).over(so_far))
    lowest = sf.least(sf.lit(0), sf.coalesce(sf.min("level").over(before), sf.lit(0)))
    # One that ends what never began comes before its beginning, in a file that is late.
    known = summed.withColumn("orphan", ~sf.col("begins") & (sf.col("level") < lowest)).where(
        ~sf.col("orphan")
    )
    of_kind = Window.partitionBy(*by_epoch, "begins").orderBy(*PLACE)
    number = sf.row_number().over(of_kind)
    return known.withColumn("number", number).drop("epoch", "level", "orphan")


def with_unchanged(events: "DataFrame", columns: Sequence[str]) -> "DataFrame":
    """Events whose rows are whole: what a change left out is what the row had before, also under another key.

    Args:
        events: Each once.
        columns: Those that any change left out.

    Raises:
        StagingError: No earlier change tells of a value that was left out.
    """
    from pyspark.sql import functions as sf
    from pyspark.sql.window import Window

    order = Window.partitionBy(*_KEY).orderBy(*PLACE, "begins")
    so_far = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    # A row goes on from the one before it under its key, unless it is new or comes from another key.
    lines = events.withColumn("line", sf.sum(sf.col("fresh").cast("int")).over(so_far))
    within = Window.partitionBy(*_KEY, "line").orderBy(*PLACE, "begins")
    within = within.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    held = {name: f"held{place}" for place, name in enumerate(columns)}
    told = lines.withColumns({held[name]: _told(name) for name in columns}).localCheckpoint()
    missing = None
    while True:
        filled = told.withColumns({one: sf.last(one, ignorenulls=True).over(within) for one in held.values()})
        lacking = sf.lit(False)
        for name, one in held.items():
            lacking = lacking | (sf.array_contains("unchanged", name) & sf.col(one).isNull())
        lacking = sf.col("begins") & lacking
        filled = filled.localCheckpoint()
        still = filled.where(lacking).count()
        if not still:
            return _completed(filled, held)
        if still == missing:
            raise _untold(filled.where(lacking))
        missing = still
        ends = filled.where(sf.col("moved") & ~sf.col("begins"))
        left = ends.select(*PLACE, sf.struct(*held.values()).alias("left"))
        taken = sf.col("moved") & sf.col("begins")
        told = (
            filled.join(left, list(PLACE), "left")
            .withColumns(
                {
                    one: sf.when(taken, sf.coalesce(sf.col(one), sf.col("left")[one])).otherwise(sf.col(one))
                    for one in held.values()
                }
            )
            .drop("left")
        )


def _told(name: str) -> "Column":
    """What an event itself tells of a column; a value that is missing there is a value, too."""
    from pyspark.sql import functions as sf

    value = sf.struct(sf.col("row").getField(name).alias("value"), sf.col("special")[name].alias("text"))
    return sf.when(sf.col("begins") & ~sf.array_contains("unchanged", name), value)


def _completed(events: "DataFrame", held: dict[str, str]) -> "DataFrame":
    from pyspark.sql import functions as sf

    row, special = sf.col("row"), sf.col("special")
    for name, one in held.items():
        kept = sf.array_contains("unchanged", name)
        row = row.withField(
            _field(name), sf.when(kept, sf.col(one)["value"]).otherwise(sf.col("row").getField(name))
        )
        text = sf.map_from_entries(sf.array(sf.struct(sf.lit(name), sf.col(one)["text"])))
        special = sf.when(kept & sf.col(one)["text"].isNotNull(), sf.map_concat(special, text)).otherwise(
            special
        )
    whole = {"row": sf.when(sf.col("begins"), row), "special": sf.when(sf.col("begins"), special)}
    return events.withColumns(whole).drop("line", *held.values())


def _field(name: str) -> str:
    """A name as Spark takes it where it would read a path."""
    return "`" + name.replace("`", "``") + "`"


def _untold(lacking: "DataFrame") -> StagingError:
    first: Any = lacking.orderBy(*PLACE).select(*PLACE, "unchanged").first()
    return StagingError(
        f"The change {first['sequence']} of the commit at {first['commit_lsn']:X} keeps "
        f"{', '.join(first['unchanged'])} as it was, and no change before it tells what that was.",
        remedy="A file of the log is missing. Bring it, or begin the capture anew.",
    )


def place_of(truncated: "Column") -> "Column":
    """Where in the log a table was emptied."""
    from pyspark.sql import functions as sf

    return sf.struct(*[truncated[name] for name in PLACE])


def versions(events: "DataFrame", truncated: "Column") -> "DataFrame":
    """The versions that events make.

    Args:
        events: Each once, with whole rows; with `number` where that tells equal keys apart.
        truncated: Array of when the table was emptied, in order: `commit_lsn`, `sequence`, `at`.
    """
    from pyspark.sql import functions as sf
    from pyspark.sql.window import Window

    own = {"number"} & set(events.columns)
    order = Window.partitionBy(*_KEY, *own).orderBy(*PLACE, "begins")
    following = sf.lead(sf.struct(*PLACE, sf.col("committed_at").alias("at"))).over(order)
    emptied = sf.try_element_at(
        sf.filter(truncated, lambda one: place_of(one) > sf.struct(*PLACE)), sf.lit(1)
    )
    ended = events.withColumns({"next": following, "emptied": emptied}).where("begins")
    # Of structs the least is the one that comes first; none there is counts for nothing.
    end = sf.least("next", "emptied")
    to_lsn, to_at = end["commit_lsn"], end["at"]
    found = ended.select(
        *_KEY, "row", "special", sf.col("commit_lsn").alias("from_lsn"), to_lsn.alias("to_lsn"),
        sf.col("committed_at").alias("from_at"), to_at.alias("to_at"),
    )  # fmt: skip
    return found.where(sf.col("to_lsn").isNull() | (sf.col("to_lsn") != sf.col("from_lsn")))


def in_order_of_time(versions: "DataFrame", keyed: bool) -> "DataFrame":
    """Versions whose times never run back: of two commits the later may carry the earlier time.

    Args:
        versions: All of their keys.
        keyed: Whether a key has one row at a time.
    """
    from pyspark.sql import functions as sf
    from pyspark.sql.window import Window

    reached = sf.lit(None).cast("timestamp")
    if keyed:
        before = Window.partitionBy(*_KEY).orderBy("from_lsn").rowsBetween(Window.unboundedPreceding, -1)
        reached = sf.max(sf.greatest("from_at", "to_at")).over(before)
    begun = versions.withColumn("reached", reached).withColumn("from_at", sf.greatest("from_at", "reached"))
    to_at = sf.when(sf.col("to_lsn").isNotNull(), sf.greatest("to_at", "from_at"))
    return begun.withColumn("to_at", to_at).select(*VERSION)
