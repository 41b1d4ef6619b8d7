"""Pin the rows that a model learns from, or is asked about, as they could be known at a moment.

Both kinds are made by one mechanism: points of prediction, the point-in-time join, canonical order, a hash.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.features.build import literal, quoted
from include.features.content import ID_LENGTH, content_hash
from include.features.plan import SPLIT, Plan, plan
from include.features.point_in_time import connected, held_table, load, naive_utc
from include.features.points import LABEL, MATURED, OPEN, label_table, load_points
from include.features.split import boundaries, count_splits, split_rows
from include.spec.feature import EVENT_TIMESTAMP, MATURED_TIMESTAMP
from include.spec.product import ModelProduct

if TYPE_CHECKING:
    import duckdb

ROWS_FILE = "rows.parquet"
TRAINING_DOCUMENT = "training_set.json"
SCORING_DOCUMENT = "scoring_set.json"


@dataclass(frozen=True)
class PinnedSet:
    """A set of rows in a folder, named by its content.

    Args:
        id: First 16 hexadecimal digits of the content's SHA-256.
        folder: Holds `rows.parquet` and the document. The rows are in order of entity and event_timestamp;
            their columns are the entity, event_timestamp, for training matured_timestamp, label and split,
            then the features, then `<table>__event_timestamp` and `<table>__created_timestamp` of the row
            that each feature table gave.
        document: What `training_set.json` or `scoring_set.json` says.
    """

    id: str
    folder: Path
    document: Mapping[str, Any]

    @property
    def rows(self) -> Path:
        """The Parquet file of the rows."""
        return self.folder / ROWS_FILE

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the feature columns, in the order that a model gets them in."""
        return tuple(feature["name"] for feature in self.document["features"])


def pin_training_set(
    product: ModelProduct, features: Path, as_of: datetime, output: Path, *, commit: str = ""
) -> PinnedSet:
    """Pin what the product can learn as of a moment: only matured labels, only features known at each point.

    The newest points are the test rows, those before them validate, the rest trains. A row whose label had
    not matured when the next period began is dropped (embargo), since it would teach what was not yet known.

    Args:
        product: Whose label, features and split.
        features: Folder that mirrors `features/` of a commit.
        as_of: What was not known then does not exist; without a zone it is UTC.
        output: The set is written to `<output>/<id>/`, and replaces what is there.
        commit: Commit of the features, for the document; it is not part of the identity.

    Raises:
        TrainingSetError: A table is not there or not unique, two tables have a column of one name, a column
            of `exclude` is unknown, or a split has no rows.
    """
    moment = naive_utc(as_of)
    with _joined(product, features, moment, MATURED) as (connection, planned):
        periods = boundaries(connection, product, moment)
        embargoed = split_rows(connection, periods)
        document = {
            **planned.document(product, moment, commit),
            "label": {"table": product.label.table, "column": product.label.column, "as": LABEL},
            "split": {name: after.isoformat() for name, after in asdict(periods).items()},
            "rows": count_splits(connection, product, periods),
            "dropped_by_embargo": embargoed,
        }
        told = (MATURED_TIMESTAMP, LABEL, SPLIT)
        return _keep(connection, planned, told, document, output, TRAINING_DOCUMENT)


def pin_scoring_set(
    product: ModelProduct, features: Path, as_of: datetime, output: Path, *, commit: str = ""
) -> PinnedSet:
    """Pin what the product is to predict as of a moment: the points that have begun and not yet matured.

    Each gets the features that were known at its own time, as in training. There may be no such point.

    Args:
        product: Whose points and features.
        features: Folder that mirrors `features/` of a commit.
        as_of: What was not known then does not exist; without a zone it is UTC.
        output: The set is written to `<output>/<id>/`, and replaces what is there.
        commit: Commit of the features, for the document; it is not part of the identity.

    Raises:
        TrainingSetError: A table is not there or not unique, two tables have a column of one name, or a
            column of `exclude` is unknown.
    """
    moment = naive_utc(as_of)
    with _joined(product, features, moment, OPEN) as (connection, planned):
        count = connection.execute("SELECT count(*) FROM joined").fetchall()[0][0]
        document = {**planned.document(product, moment, commit), "rows": count}
        return _keep(connection, planned, (), document, output, SCORING_DOCUMENT)


@contextmanager
def _joined(
    product: ModelProduct, features: Path, as_of: datetime, chosen: str
) -> "Iterator[tuple[duckdb.DuckDBPyConnection, Plan]]":
    """A connection that holds the chosen points with their features, as the table `joined`."""
    label = label_table(product, features)
    planned = plan(product, features)
    with connected() as connection:
        load_points(connection, label, as_of, chosen)
        for table in planned.tables:
            load(connection, held_table(features, table.name), as_of)
        connection.execute(f"CREATE TEMP TABLE joined AS {planned.sql}")
        yield connection, planned


def _keep(
    connection: "duckdb.DuckDBPyConnection",
    planned: Plan,
    told: Sequence[str],
    document: Mapping[str, Any],
    output: Path,
    named: str,
) -> PinnedSet:
    """Write the rows and the document to the folder that their content names."""
    columns = (*planned.entity, EVENT_TIMESTAMP, *told, *planned.features, *planned.lineage)
    chosen = ", ".join(quoted(name) for name in columns)
    connection.execute(f"CREATE TEMP TABLE kept AS SELECT {chosen} FROM joined ORDER BY point")  # noqa: S608
    identity = {"product": document["product"], "label": document.get("label"), "sql": document["sql_sha256"]}
    content = content_hash(connection.sql("FROM kept").to_arrow_table(), identity)
    folder = output / content[:ID_LENGTH]
    folder.mkdir(parents=True, exist_ok=True)
    connection.execute(f"COPY kept TO {literal(folder / ROWS_FILE)} (FORMAT parquet, COMPRESSION zstd)")
    types = [
        {"name": name, "type": str(kind).lower()}
        for name, kind, *_ in connection.execute("DESCRIBE kept").fetchall()
    ]
    full = {"id": folder.name, "content_sha256": content, **document, "columns": types}
    (folder / named).write_text(json.dumps(full, indent=1) + "\n")
    return PinnedSet(folder.name, folder, full)
