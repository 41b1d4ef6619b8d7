"""Split points by time, so that what is judged on is later than all that was learnt from."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from include.features.errors import TrainingSetError
from include.features.plan import SPLIT
from include.features.points import LABEL
from include.spec.feature import EVENT_TIMESTAMP, MATURED_TIMESTAMP
from include.spec.product import ModelProduct

if TYPE_CHECKING:
    import duckdb

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Boundaries:
    """Where the periods of a split end. All times are of events.

    Args:
        validation_after: Rows up to here train.
        test_after: Rows up to here validate, rows after it test.
    """

    validation_after: datetime
    test_after: datetime


def boundaries(connection: "duckdb.DuckDBPyConnection", product: ModelProduct, as_of: datetime) -> Boundaries:
    """The product's periods, counted back from the newest matured point in the table `joined`.

    Raises:
        TrainingSetError: There is no point.
    """
    newest = connection.execute(f"SELECT max({EVENT_TIMESTAMP}) FROM joined").fetchall()[0][0]  # noqa: S608
    if newest is None:
        raise TrainingSetError(
            f"Product {product.name!r}: no label has matured as of {as_of.isoformat()}.",
            remedy="Train as of a later moment.",
            product=product.name,
        )
    test_after = newest - product.split.test
    return Boundaries(test_after - product.split.validation, test_after)


def split_rows(connection: "duckdb.DuckDBPyConnection", periods: Boundaries) -> int:
    """Mark each row of `joined` with its split, drop those whose label matured too late, say how many."""
    connection.execute(f"ALTER TABLE joined ADD COLUMN {SPLIT} VARCHAR")
    connection.execute(
        f"UPDATE joined SET {SPLIT} = CASE "  # noqa: S608
        f"WHEN {EVENT_TIMESTAMP} > $test_after THEN 'test' "
        f"WHEN {EVENT_TIMESTAMP} > $validation_after THEN "
        f"CASE WHEN {MATURED_TIMESTAMP} <= $test_after THEN 'validation' END "
        f"WHEN {MATURED_TIMESTAMP} <= $validation_after THEN 'train' END",
        {"test_after": periods.test_after, "validation_after": periods.validation_after},
    )
    dropped = connection.execute(f"DELETE FROM joined WHERE {SPLIT} IS NULL RETURNING 1").fetchall()  # noqa: S608
    return len(dropped)


def count_splits(
    connection: "duckdb.DuckDBPyConnection", product: ModelProduct, periods: Boundaries
) -> dict[str, dict[str, Any]]:
    """Rows, mean label, first and last event of each split.

    Raises:
        TrainingSetError: A split has no rows.
    """
    told = connection.execute(
        f"SELECT {SPLIT}, count(*), avg({LABEL}), min({EVENT_TIMESTAMP}), max({EVENT_TIMESTAMP}) "  # noqa: S608
        f"FROM joined GROUP BY {SPLIT}"
    ).fetchall()
    counts = {
        split: {
            "rows": rows,
            "mean_label": round(float(mean), 6),
            "first_event": first.isoformat(),
            "last_event": last.isoformat(),
        }
        for split, rows, mean, first, last in told
    }
    for split in SPLITS:
        if split not in counts:
            raise TrainingSetError(
                f"Product {product.name!r}: the {split} split has no rows: validation begins after "
                f"{periods.validation_after.isoformat()}, test after {periods.test_after.isoformat()}, and "
                "a row is dropped whose label had not matured when the next period began.",
                remedy="Train as of a later moment, or change the periods in the product's split.",
                product=product.name,
            )
    return {split: counts[split] for split in SPLITS}
