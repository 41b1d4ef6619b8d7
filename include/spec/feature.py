"""A feature table: whom its rows are about, and when each was known."""

import json
from typing import Annotated, Self

from pydantic import Field, model_validator

from include.spec.declaration import Declaration, Name

EVENT_TIMESTAMP = "event_timestamp"
CREATED_TIMESTAMP = "created_timestamp"
MATURED_TIMESTAMP = "matured_timestamp"


class FeatureColumn(Declaration):
    """One column of a feature table.

    Args:
        name: Its name.
        type: Its type as DuckDB spells it: `integer`, `double`, `varchar`, `timestamp`, ...
        description: What it means, its unit.
    """

    name: Name
    type: Annotated[str, Field(min_length=1)]
    description: Annotated[str, Field(min_length=1)]


class FeatureTable(Declaration):
    """What the lake holds under `features/<name>/`, and keeps beside the rows as `_table.json`.

    Args:
        name: Name of the folder, and of the dbt model that makes it.
        description: What one row is.
        entity: Columns that say whom a row is about.
        columns: All columns, in order.
        label: Column of the truth, for a table of labels; its rows mature instead of being created.
        max_age_days: A row that is older than this, by its event, is as good as none; None for no limit.
    """

    name: Name
    description: Annotated[str, Field(min_length=1)]
    entity: Annotated[tuple[Name, ...], Field(min_length=1)]
    columns: Annotated[tuple[FeatureColumn, ...], Field(min_length=1)]
    label: Name | None = None
    max_age_days: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _holds_what_a_join_needs(self) -> Self:
        names = [column.name for column in self.columns]
        known = CREATED_TIMESTAMP if self.label is None else MATURED_TIMESTAMP
        wanted = (*self.entity, EVENT_TIMESTAMP, known, *((self.label,) if self.label else ()))
        missing = [name for name in wanted if name not in names]
        if missing:
            raise ValueError(f"columns: {', '.join(missing)} missing; there are {', '.join(names)}")
        if len(set(names)) != len(names):
            raise ValueError("columns: a name is there twice")
        return self

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that no two rows share, in the order that the rows are kept in."""
        known = (CREATED_TIMESTAMP,) if self.label is None else ()
        return (*self.entity, EVENT_TIMESTAMP, *known)

    @property
    def features(self) -> tuple[FeatureColumn, ...]:
        """The columns that tell something: neither entity nor time nor label."""
        times = {EVENT_TIMESTAMP, CREATED_TIMESTAMP, MATURED_TIMESTAMP}
        return tuple(
            column
            for column in self.columns
            if column.name not in times and column.name not in self.entity and column.name != self.label
        )

    @property
    def prefix(self) -> str:
        """Lake path of the table, without a trailing slash."""
        return f"features/{self.name}"

    def to_json(self) -> str:
        """The text of the `_table.json` beside the rows; the same table always gives the same bytes."""
        return json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "FeatureTable":
        """The table of such a text.

        Raises:
            DeclarationError: A field is missing, unknown or not accepted.
        """
        fields = json.loads(text)
        fields["entity"] = tuple(fields.get("entity", ()))
        fields["columns"] = tuple(FeatureColumn(**column) for column in fields.get("columns", ()))
        return cls(**fields)
