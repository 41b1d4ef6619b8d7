"""From events of keys to versions of rows: who had which row from when to when.

A version is a row of the key's columns, `row`, `special`, `from_lsn`, `to_lsn`, `from_at` and `to_at`; what
still is has no end. `by` are the key's columns throughout, as `Reader.by` names them. States that no commit
left behind are no versions: only their transaction saw them.
"""

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from include.features.errors import StagingError
from include.features.spark_jobs.events import PLACE, SNAPSHOT

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

VERSION = ("row", "special", "from_lsn", "to_lsn", "from_at", "to_at")


def without_repeated(events: "DataFrame", by: Sequence[str], keyed: bool) -> "DataFrame":
    """Each event once, however often it was brought.

    A row of the snapshot is the same as another by its key; where rows have none, all of them count.
    """
    from pyspark.sql import functions as sf
    from pyspark.sql.window import Window

    order = Window.partitionBy(*by).orderBy(*PLACE, "begins")
    place = sf.struct(*PLACE, "begins")
    again = place.eqNullSafe(sf.lag(place).over(order)) & (sf.lit(keyed) | (sf.col("sequence") != SNAPSHOT))
    return events.withColumn("again", again).where(~sf.col("again")).drop("again")


def numbered(events: "DataFrame", by: Sequence[str], truncated: "Column") -> "DataFrame":
    """Equal rows of a table without a key told apart: an ending is of the eldest that still is.

    Args:
        events: Of such a table.
        by: The key's columns.
        truncated: As for `versions`.
    """
    from pyspark.sql import functions as sf
    from pyspark.sql.window import Window

    by_epoch = [*by, "epoch"]
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


def with_unchanged(events: "DataFrame", by: Sequence[str], columns: Sequence[str]) -> "DataFrame":
    """Events whose rows are whole: what a change left out is what the row had before, also under another key.

    Args:
        events: Each once.
        by: The key's columns.
        columns: Those that any change left out.

    Raises:
        StagingError: No earlier change tells of a value that was left out.
    """
    from pyspark.sql import Observation
    from pyspark.sql import functions as sf
    from pyspark.sql.window import Window

    order = Window.partitionBy(*by).orderBy(*PLACE, "begins")
    so_far = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    held = {name: f"held{place}" for place, name in enumerate(columns)}
    told = events.withColumns({one: _told(events, name) for name, one in held.items()})
    missing = None
    while True:
        filled = told.withColumns({one: sf.last(one, ignorenulls=True).over(so_far) for one in held.values()})
        kept = [sf.array_contains("unchanged", name) & ~_known(one) for name, one in held.items()]
        lacking = sf.col("begins") & reduce(or_, kept)
        # Counted on the way: a job of its own would cost as much as all of this.
        counted = Observation()
        filled = filled.observe(counted, sf.count_if(lacking).alias("lacking")).localCheckpoint()
        still = counted.get["lacking"]
        if not still:
            return _completed(filled, held)
        if still == missing:
            raise _untold(filled.where(lacking))
        missing = still
        told = _handed_on(filled, list(held.values()))


def _handed_on(filled: "DataFrame", held: Sequence[str]) -> "DataFrame":
    """Rows whose key changed have what they had under the key before, as far as that is known by now."""
    from pyspark.sql import functions as sf

    left = filled.where(sf.col("moved") & ~sf.col("begins")).select(*PLACE, sf.struct(*held).alias("left"))
    taken = sf.col("moved") & sf.col("begins")
    handed = {
        one: sf.when(_known(one), sf.col(one))
        .when(taken, sf.coalesce(sf.col("left")[one], sf.col(one)))
        # A new row knows nothing of the one before it; any other asks again.
        .when(sf.col("fresh"), sf.col(one))
        for one in held
    }
    return filled.join(left, list(PLACE), "left").withColumns(handed).drop("left")


def _known(held: str) -> "Column":
    from pyspark.sql import functions as sf

    return sf.coalesce(sf.col(held)["known"], sf.lit(False))


def _told(events: "DataFrame", name: str) -> "Column":
    """What an event itself tells of a column: its value, which may be none; or that it is not known yet."""
    from pyspark.sql import functions as sf

    begins, row = sf.col("begins"), sf.col("row").getField(name)
    kind: Any = events.schema["row"].dataType
    value = sf.struct(row.alias("value"), sf.col("special")[name].alias("text"), sf.lit(True).alias("known"))
    unknown = sf.struct(
        sf.lit(None).cast(kind[name].dataType).alias("value"),
        sf.lit(None).cast("string").alias("text"),
        sf.lit(False).alias("known"),
    )
    own = begins & ~sf.array_contains("unchanged", name)
    return sf.when(own, value).when(begins & sf.col("fresh"), unknown)


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
    return events.withColumns(whole).drop(*held.values())


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


def versions(events: "DataFrame", by: Sequence[str], truncated: "Column") -> "DataFrame":
    """The versions that events make.

    Args:
        events: Each once, with whole rows; with `number` where that tells equal keys apart.
        by: The key's columns.
        truncated: Array of when the table was emptied, in order: `commit_lsn`, `sequence`, `at`.
    """
    from pyspark.sql import functions as sf
    from pyspark.sql.window import Window

    own = {"number"} & set(events.columns)
    order = Window.partitionBy(*by, *own).orderBy(*PLACE, "begins")
    following = sf.lead(sf.struct(*PLACE, sf.col("committed_at").alias("at"))).over(order)
    emptied = sf.try_element_at(
        sf.filter(truncated, lambda one: place_of(one) > sf.struct(*PLACE)), sf.lit(1)
    )
    ended = events.withColumns({"next": following, "emptied": emptied}).where("begins")
    # Of structs the least is the one that comes first; none there is counts for nothing.
    end = sf.least("next", "emptied")
    to_lsn, to_at = end["commit_lsn"], end["at"]
    found = ended.select(
        *by, "row", "special", sf.col("commit_lsn").alias("from_lsn"), to_lsn.alias("to_lsn"),
        sf.col("committed_at").alias("from_at"), to_at.alias("to_at"),
    )  # fmt: skip
    return found.where(sf.col("to_lsn").isNull() | (sf.col("to_lsn") != sf.col("from_lsn")))


def in_order_of_time(versions: "DataFrame", by: Sequence[str], keyed: bool) -> "DataFrame":
    """Versions whose times never run back: of two commits the later may carry the earlier time.

    Args:
        versions: All of their keys.
        by: The key's columns.
        keyed: Whether a key has one row at a time.
    """
    from pyspark.sql import functions as sf
    from pyspark.sql.window import Window

    reached = sf.lit(None).cast("timestamp")
    if keyed:
        before = Window.partitionBy(*by).orderBy("from_lsn").rowsBetween(Window.unboundedPreceding, -1)
        reached = sf.max(sf.greatest("from_at", "to_at")).over(before)
    begun = versions.withColumn("reached", reached).withColumn("from_at", sf.greatest("from_at", "reached"))
    to_at = sf.when(sf.col("to_lsn").isNotNull(), sf.greatest("to_at", "from_at"))
    return begun.withColumn("to_at", to_at).select(*by, *VERSION)
