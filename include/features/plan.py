"""Which columns of which tables a product's rows are made of, checked before anything is read."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from include.features.errors import TrainingSetError
from include.features.point_in_time import held_table, join
from include.features.points import LABEL
from include.spec.feature import CREATED_TIMESTAMP, EVENT_TIMESTAMP, MATURED_TIMESTAMP, FeatureTable
from include.spec.product import ModelProduct

SPLIT = "split"
_RESERVED = {LABEL, SPLIT, EVENT_TIMESTAMP, MATURED_TIMESTAMP, "point"}


@dataclass(frozen=True)
class Plan:
    """What is joined.

    Args:
        entity: Key columns of a prediction.
        tables: The feature tables.
        features: Their columns, in the order that a model gets them in.
        sql: The join.
    """

    entity: tuple[str, ...]
    tables: tuple[FeatureTable, ...]
    features: tuple[str, ...]
    sql: str

    @property
    def lineage(self) -> tuple[str, ...]:
        """Columns that tell which row of each table was used."""
        times = (EVENT_TIMESTAMP, CREATED_TIMESTAMP)
        return tuple(f"{table.name}__{time}" for table in self.tables for time in times)

    def document(self, product: ModelProduct, as_of: datetime, commit: str) -> dict[str, Any]:
        """What the document of a set says, whatever the set is for."""
        types = {column.name: (column.type, table.name) for table in self.tables for column in table.features}
        return {
            "product": product.name,
            "as_of": as_of.isoformat(),
            "feature_commit": commit,
            "entity": list(self.entity),
            "features": [
                {"name": name, "type": types[name][0], "table": types[name][1]} for name in self.features
            ],
            "tables": [table.name for table in self.tables],
            "sql_sha256": hashlib.sha256(self.sql.encode()).hexdigest(),
        }


def plan(product: ModelProduct, features: Path) -> Plan:
    """What the product declares, found in the feature tables of a folder.

    Raises:
        TrainingSetError: A table is not there, or holds labels or another entity's rows; two tables have a
            column of one name; a column of `exclude` is unknown.
    """
    tables = tuple(held_table(features, name).table for name in product.features)
    for table in tables:
        foreign = [name for name in table.entity if name not in product.entity]
        if foreign or table.label is not None:
            what = f"is about {', '.join(foreign)}, too" if foreign else "holds labels"
            raise TrainingSetError(
                f"Product {product.name!r}: field 'features': {table.name!r} {what}; accepted are feature "
                f"tables about {', '.join(product.entity)} or some of them.",
                product=product.name,
            )
    names = [column.name for table in tables for column in table.features]
    reserved = _RESERVED | set(product.entity)
    twice = sorted({name for name in names if names.count(name) > 1 or name in reserved})
    unknown = sorted(set(product.exclude) - set(names))
    if twice or unknown:
        field, found = ("features", twice) if twice else ("exclude", unknown)
        cause = "is the name of several columns" if twice else "is no column of the product's features"
        raise TrainingSetError(
            f"Product {product.name!r}: field {field!r}: {', '.join(found)} {cause}.", product=product.name
        )
    taken = tuple(name for name in names if name not in product.exclude)
    return Plan(product.entity, tables, taken, join(tables, taken))
