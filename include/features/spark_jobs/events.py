"""What a log's changes do to the rows of a key: each begins a version of the row, or ends one.

An event is a row of

| column | meaning |
|---|---|
| `bucket` | by hash of the key |
| `k0`, `k1`, ... and `texts` | the key's columns, and the texts of those that their type cannot hold |
| `commit_lsn`, `sequence` | its place in the log; -1 for a row of the snapshot, before all changes |
| `begins` | whether the key has a row from here on; false where it has none any more |
| `fresh` | whether that row owes nothing to the one that the key had before |
| `moved` | whether the key of a row changed here, from the one of an ending to the one of a beginning |
| `row`, `special` | the row, in the columns of the result, and texts of what those cannot hold |
| `unchanged` | columns that keep the value which they had |
| `committed_at` | when |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.features.spark_jobs.shapes import Layout, Period

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType, StructType

SNAPSHOT = -1
PLACE = ("commit_lsn", "sequence")


@dataclass(frozen=True)
class Reader:
    """Reads files of one log.

    Args:
        spark: The session.
        layout: Of the whole log.
        key: Columns that name a row; without any, all of a row does.
        buckets: Parts that keys are hashed into.
        types: Of the result's columns.
    """

    spark: Any
    layout: Layout
    key: tuple[str, ...]
    buckets: int
    types: Mapping[str, "DataType"]

    @property
    def naming(self) -> tuple[str, ...]:
        """The columns by which rows are told apart."""
        return self.key or self.layout.current

    @property
    def by(self) -> tuple[str, ...]:
        """The same as columns of events; the bucket, which follows from them, comes first."""
        return ("bucket", *(f"k{place}" for place in range(len(self.naming))), "texts")

    def changes(self, files: Sequence[tuple[Period, Sequence[str]]]) -> "DataFrame":
        """Changes in the columns of the result, with the old row where it is told.

        Args:
            files: Local files of some periods.
        """
        parts = [self._of_period(period, list(paths)) for period, paths in files if paths]
        whole: DataFrame = reduce(lambda one, other: one.unionByName(other), parts)
        return whole

    def _of_period(self, period: Period, paths: list[str]) -> "DataFrame":
        from pyspark.sql import functions as sf

        frame = self.spark.read.schema(schema_of(paths[0])).parquet(*paths)
        source = {name: own for own, name in zip(period.shape.names, period.names, strict=True)}
        operation = sf.col("operation")
        read = operation == "read"
        row, row_special = self._aligned(frame.schema, "row", source)
        old, old_special = self._aligned(frame.schema, "old", source)
        renamed = {own: name for name, own in source.items() if own != name}
        unchanged = sf.transform(sf.col("unchanged"), lambda name: _mapped(name, renamed))
        selected: DataFrame = frame.select(
            operation.alias("operation"),
            sf.col("commit_lsn"),
            sf.when(read, sf.lit(SNAPSHOT)).otherwise(sf.col("sequence")).cast("bigint").alias("sequence"),
            sf.col("committed_at"),
            row.alias("row"),
            row_special.alias("special"),
            old.alias("old"),
            old_special.alias("old_special"),
            unchanged.alias("unchanged"),
        )
        return selected

    def _aligned(self, schema: "StructType", side: str, source: Mapping[str, str]) -> "tuple[Column, Column]":
        """A row in the columns of the result, and the texts of what they cannot hold, by their names."""
        from pyspark.sql import functions as sf

        from include.features.spark_jobs.casts import exactly

        given: Any = schema[side].dataType if side in schema.names else ()
        fields = {field.name: field.dataType for field in given}
        columns, misfits = [], []
        for name, kind in self.types.items():
            own = source.get(name)
            if own is None or own not in fields:
                columns.append(sf.lit(None).cast(kind).alias(name))
                continue
            value, text = exactly(sf.col(side).getField(own), fields[own], kind)
            columns.append(value.alias(name))
            if text is not None:
                misfits.append(sf.struct(sf.lit(name).alias("key"), text.alias("value")))
        names = {f"{side}.{own}": name for name, own in source.items()}
        own_texts = sf.map_filter(
            sf.col("special"), lambda path, _: path.isin(*names) if names else sf.lit(False)
        )
        special = sf.transform_keys(own_texts, lambda path, _: _mapped(path, names))
        if misfits:
            found = sf.filter(sf.array(*misfits), lambda one: one["value"].isNotNull())
            special = sf.map_concat(special, sf.map_from_entries(found))
        present = sf.lit(None).cast("boolean") if side not in schema.names else sf.col(side).isNotNull()
        return sf.when(present, sf.struct(*columns)), special

    def keyed(self, row: "Column", special: "Column") -> "Column":
        """The key of a row."""
        from pyspark.sql import functions as sf

        texts = sf.array(*[special[name] for name in self.naming])
        columns = [row.getField(name).alias(f"k{place}") for place, name in enumerate(self.naming)]
        return sf.struct(*columns, texts.alias("texts"))

    def bucket(self, key: "Column") -> "Column":
        """The bucket of a key."""
        from pyspark.sql import functions as sf

        parts = [key.getField(name) for name in self.by[1:]]
        return sf.pmod(sf.xxhash64(*parts), sf.lit(self.buckets)).cast("int")

    def parts(self, key: "Column") -> "list[Column]":
        """The columns `by` of a key."""
        return [self.bucket(key).alias("bucket"), *[key.getField(name).alias(name) for name in self.by[1:]]]

    def events(self, changes: "DataFrame") -> "DataFrame":
        """What changes do to the rows of keys, in no order; those of a repeated file come again."""
        from pyspark.sql import functions as sf

        operation = sf.col("operation")
        by_old, by_new = sf.col("old").isNotNull(), sf.col("row").isNotNull()
        keys = changes.where(operation != "truncate").withColumns(
            {
                "old_key": sf.when(by_old, self.keyed(sf.col("old"), sf.col("old_special"))),
                "new_key": sf.when(by_new, self.keyed(sf.col("row"), sf.col("special"))),
            }
        )
        moves = (operation == "update") & by_old
        if self.key:
            moves = moves & ~sf.col("old_key").eqNullSafe(sf.col("new_key"))
        fresh = moves | operation.isin("insert", "read")
        ending = sf.struct(
            sf.col("old_key").alias("key"), sf.lit(False).alias("begins"), sf.lit(False).alias("fresh")
        )
        beginning = sf.struct(
            sf.col("new_key").alias("key"), sf.lit(True).alias("begins"), fresh.alias("fresh")
        )
        made = (
            sf.when(operation == "delete", sf.array(ending))
            .when(moves, sf.array(ending, beginning))
            .otherwise(sf.array(beginning))
        )
        told = keys.select(
            *PLACE, "committed_at", "row", "special", "unchanged", moves.alias("moved"), made.alias("made")
        )
        single = told.withColumn("event", sf.explode("made"))
        event = sf.col("event")
        return single.select(
            *self.parts(event["key"]),
            *PLACE,
            event["begins"].alias("begins"),
            event["fresh"].alias("fresh"),
            sf.col("moved"),
            sf.when(event["begins"], sf.col("row")).alias("row"),
            sf.when(event["begins"], sf.col("special")).alias("special"),
            sf.when(event["begins"], sf.col("unchanged"))
            .otherwise(sf.array().cast("array<string>"))
            .alias("unchanged"),
            "committed_at",
        )


def types_of(layout: Layout, firsts: Sequence[tuple[Period, str]]) -> "dict[str, DataType]":
    """The type of each column of the result: the last that it had.

    Args:
        layout: Of the log.
        firsts: Each of its periods with a local file.
    """
    types: dict[str, Any] = {}
    for period, path in firsts:
        row: Any = schema_of(path)["row"].dataType
        pairs = zip(period.shape.names, period.names, strict=True)
        types |= {name: row[own].dataType for own, name in pairs}
    return {name: types[name] for name in layout.columns}


def schema_of(path: str | Path) -> "StructType":
    """The columns of a file as Spark reads them, by its footer; Spark would start a job to find out."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyspark.sql.pandas.types import from_arrow_schema

    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in pq.read_schema(path)
    ]
    return from_arrow_schema(pa.schema(fields))


def _mapped(name: "Column", names: Mapping[str, str]) -> "Column":
    from pyspark.sql import functions as sf

    if not names:
        return name
    pairs = [sf.lit(part) for pair in names.items() for part in pair]
    return sf.coalesce(sf.create_map(*pairs)[name], name)
