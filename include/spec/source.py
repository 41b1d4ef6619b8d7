"""What comes in: a source system, its tables, their columns, and where each table is read from."""

import hashlib
import json
import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from include.spec.declaration import Declaration, Name
from include.spec.errors import HeadraceError

Text = Annotated[str, StringConstraints(min_length=1)]

# The types of the lake, in one spelling for every source. `timestamp` is microseconds without a zone,
# `timestamptz` microseconds in UTC: engines here disagree about anything finer.
LAKE_TYPES = (
    *("bool", "int16", "int32", "int64", "float32", "float64"),
    *("string", "binary", "date", "timestamp", "timestamptz"),
)
_DECIMAL = re.compile(r"^decimal\((\d{1,2}),(\d{1,2})\)$")


class UnknownTableError(HeadraceError):
    """A table was asked for that the source does not declare."""


class Column(Declaration):
    """One column as it rests in the lake.

    Args:
        name: Its name in the source and in the lake.
        type: One of `LAKE_TYPES`, or `decimal(p,s)` with p up to 38.
        nullable: Whether it may hold no value.
        description: What it means, its unit.
    """

    name: Name
    type: str
    nullable: bool = False
    description: str = ""

    @model_validator(mode="after")
    def _known_type(self) -> "Column":
        if self.type not in LAKE_TYPES and self.decimal is None:
            raise ValueError(
                f"type {self.type!r} is not one of {', '.join(LAKE_TYPES)} or decimal(p,s), s <= p <= 38"
            )
        return self

    @property
    def decimal(self) -> tuple[int, int] | None:
        """Precision and scale of a decimal, None for every other type."""
        matched = _DECIMAL.match(self.type)
        if matched is None:
            return None
        precision, scale = int(matched[1]), int(matched[2])
        return (precision, scale) if 1 <= precision <= 38 and scale <= precision else None


class DatabaseTable(Declaration):
    """Read from a table of a PostgreSQL database; all tables of one database are read at one instant.

    Args:
        dsn: Name of the field of `include.settings.Settings` that holds the connection string.
        relation: Name of the table there; the lake's name of the table where it is left out.
        schema_name: Schema of the relation.
    """

    kind: Literal["database"] = "database"
    dsn: Name
    relation: Name | None = None
    schema_name: Name = "public"

    @property
    def origin(self) -> str:
        """What is read together, in one transaction."""
        return self.dsn.removesuffix("_dsn")


class Files(Declaration):
    """Read from all files that match a pattern; each file keeps its own part in the lake.

    Args:
        bucket: Name of the field of `include.settings.Settings` that holds the bucket.
        pattern: Glob of the files within the bucket.
        format: Of every matching file; CSV has a header line, and `.gz` in the name means gzip.
    """

    kind: Literal["files"] = "files"
    bucket: Name
    pattern: Text
    format: Literal["csv", "parquet"]

    @model_validator(mode="after")
    def _relative(self) -> "Files":
        if self.pattern.startswith("/") or "://" in self.pattern or ".." in self.pattern.split("/"):
            raise ValueError(f"pattern {self.pattern!r} must be relative to the bucket, without '..'")
        return self

    @property
    def origin(self) -> str:
        """What is read together: the folder of files."""
        return f"{self.bucket.removesuffix('_bucket')}/{self.pattern.split('*', 1)[0].rstrip('/')}"


class Table(Declaration):
    """One table of a source.

    Args:
        name: Name in the lake: `raw/<source>/<name>/`.
        read: Where its rows are.
        columns: All columns, in order; the contract that arriving data is held to.
        key: Columns that name a row; empty where the source guarantees none.
        time_column: When the row happened, in the source's own clock.
        may_be_empty: Whether no rows at all is a legitimate state.
        undeclared_columns: What to do with a column that is not declared: stop, or leave it behind.
        description: What one row is.
    """

    name: Name
    description: Text
    read: Annotated[DatabaseTable | Files, Field(discriminator="kind")]
    columns: tuple[Column, ...] = Field(min_length=1)
    key: tuple[Name, ...] = ()
    time_column: Name | None = None
    may_be_empty: bool = False
    undeclared_columns: Literal["refuse", "ignore"] = "refuse"

    @model_validator(mode="after")
    def _consistent(self) -> "Table":
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"columns declared twice: {', '.join(twice)}")
        for field, wanted in (
            ("key", self.key),
            ("time_column", (self.time_column,) if self.time_column else ()),
        ):
            absent = [name for name in wanted if name not in names]
            if absent:
                raise ValueError(
                    f"{field} names {', '.join(absent)}; declared columns are {', '.join(names)}"
                )
        loose = [column.name for column in self.columns if column.name in self.key and column.nullable]
        if loose:
            raise ValueError(f"key columns must not be nullable: {', '.join(loose)}")
        return self

    def column(self, name: str) -> Column:
        """The declared column of that name.

        Raises:
            KeyError: There is none.
        """
        return {column.name: column for column in self.columns}[name]

    @property
    def contract_hash(self) -> str:
        """SHA-256 over what decides the bytes in the lake: columns, types, nullability, key."""
        contract = [[column.name, column.type, column.nullable] for column in self.columns]
        text = json.dumps([contract, list(self.key)], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Source(Declaration):
    """A system that data comes from.

    Args:
        name: Name in the lake: `raw/<name>/`.
        owner: Address of who answers for it.
        tables: Its tables.
        schedule: When it is read (cron), None for on demand only.
        description: What it is.
    """

    name: Name
    owner: Text
    description: Text
    tables: tuple[Table, ...] = Field(min_length=1)
    schedule: str | None = None

    @model_validator(mode="after")
    def _distinct(self) -> "Source":
        names = [table.name for table in self.tables]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"tables declared twice: {', '.join(twice)}")
        return self

    def table(self, name: str) -> Table:
        """The declared table of that name.

        Raises:
            UnknownTableError: The source declares none of that name.
        """
        for table in self.tables:
            if table.name == name:
                return table
        accepted = ", ".join(sorted(table.name for table in self.tables))
        raise UnknownTableError(
            f"Source {self.name!r} declares no table {name!r}; it declares: {accepted}.",
            remedy="Add it to the source's declaration, with its expectations.",
        )

    def prefix(self, table: str) -> str:
        """Lake path of a table, without a trailing slash."""
        return f"raw/{self.name}/{self.table(table).name}"

    @property
    def origins(self) -> tuple[str, ...]:
        """What is read together (one database, one folder of files), in the order of declaration."""
        return tuple(dict.fromkeys(table.read.origin for table in self.tables))

    def tables_of(self, origin: str) -> tuple[Table, ...]:
        """The tables that one origin holds."""
        return tuple(table for table in self.tables if table.read.origin == origin)
