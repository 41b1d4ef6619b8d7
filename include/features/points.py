"""Points of prediction: whom, when, when the truth is known, and the truth once it is.

As of a moment, points that have matured can be learnt from or judged by, and points that have begun and not
matured are the ones to predict. Whatever the label table holds of later times does not exist then.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from include.features.build import TABLE_FILE, quoted
from include.features.errors import TrainingSetError
from include.features.point_in_time import POINTS, Held, check_unique, connected, held_table, naive_utc
from include.spec.feature import CREATED_TIMESTAMP, EVENT_TIMESTAMP, MATURED_TIMESTAMP
from include.spec.product import ModelProduct

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

LABEL = "label"
MATURED = f"{MATURED_TIMESTAMP} <= $as_of AND {LABEL} IS NOT NULL"
"""What can be learnt from."""
OPEN = f"{EVENT_TIMESTAMP} <= $as_of AND {MATURED_TIMESTAMP} > $as_of"
"""What can be predicted."""


def matured_labels(product: ModelProduct, features: Path, as_of: datetime) -> "pa.Table":
    """The truths known as of a moment: entity, event_timestamp, matured_timestamp, label; in order of key.

    Raises:
        TrainingSetError: The label table is not there or not unique.
    """
    label = label_table(product, features)
    with connected() as connection:
        load_points(connection, label, naive_utc(as_of), MATURED)
        columns = ", ".join(
            quoted(name) for name in (*label.table.entity, EVENT_TIMESTAMP, MATURED_TIMESTAMP, LABEL)
        )
        return connection.sql(f"SELECT {columns} FROM {POINTS} ORDER BY point").to_arrow_table()  # noqa: S608


def newest_moment(features: Path) -> datetime:
    """The latest moment that the feature tables of a commit tell of: as of it, all they hold is known.

    Raises:
        TrainingSetError: The folder holds no feature table.
    """
    names = sorted(path.parent.name for path in features.glob(f"*/{TABLE_FILE}"))
    tables = [held for held in (held_table(features, name) for name in names) if held.table.label is None]
    if not tables:
        raise TrainingSetError(f"{features}: holds no feature table.", remedy="Build the features first.")
    newest = " UNION ALL ".join(
        f"SELECT max({CREATED_TIMESTAMP}::TIMESTAMP) AS moment FROM {held.relation}"  # noqa: S608
        for held in tables
    )
    with connected() as connection:
        moment = connection.execute(f"SELECT max(moment) FROM ({newest})").fetchall()[0][0]  # noqa: S608
    assert isinstance(moment, datetime)
    return moment


def label_table(product: ModelProduct, features: Path) -> Held:
    """The product's label table, as the folder holds it.

    Raises:
        TrainingSetError: It is not there, or holds another truth or entity than the product says.
    """
    held = held_table(features, product.label.table)
    if held.table.label != product.label.column or held.table.entity != product.entity:
        raise TrainingSetError(
            f"Product {product.name!r}: field 'label': {held.table.name!r} holds the truth "
            f"{held.table.label!r} of {', '.join(held.table.entity)}, not {product.label.column!r} of "
            f"{', '.join(product.entity)}.",
            product=product.name,
        )
    return held


def load_points(connection: "duckdb.DuckDBPyConnection", label: Held, as_of: datetime, chosen: str) -> None:
    """Make the temporary table `points`, numbered in order of the key.

    Args:
        connection: Where.
        label: The label table.
        as_of: Value of `$as_of`.
        chosen: `MATURED` or `OPEN`.

    Raises:
        TrainingSetError: Two points have one key.
    """
    table = label.table
    assert table.label is not None
    entity = ", ".join(quoted(name) for name in table.entity)
    connection.execute(
        f"CREATE TEMP TABLE {POINTS} AS WITH told AS (SELECT {entity}, "  # noqa: S608
        f"{EVENT_TIMESTAMP}::TIMESTAMP AS {EVENT_TIMESTAMP}, "
        f"{MATURED_TIMESTAMP}::TIMESTAMP AS {MATURED_TIMESTAMP}, {quoted(table.label)} AS {LABEL} "
        f"FROM {label.relation}) "
        f"SELECT row_number() OVER (ORDER BY {entity}, {EVENT_TIMESTAMP}) AS point, * FROM told "
        f"WHERE {chosen}",
        {"as_of": as_of},
    )
    check_unique(connection, POINTS, table.key)
