"""What comes in: a source system, its tables, their columns, and where each table is read from."""

import hashlib
import json
import re
from typing import Literal

from pydantic import Field, model_validator

from include.spec.capture import Capture
from include.spec.contract import Matches, OneOf, OnViolation, Range, References, Rule, misfit
from include.spec.declaration import Declaration, Name
from include.spec.errors import HeadraceError
from include.spec.reads import Read, RestApi, Text

# The types of the lake, in one spelling for every source. `timestamp` is microseconds without a zone,
# `timestamptz` microseconds in UTC: engines here disagree about anything finer.
LAKE_TYPES = (
    *("bool", "int16", "int32", "int64", "float32", "float64"),
    *("string", "binary", "date", "timestamp", "timestamptz"),
)
CURSOR_TYPES = ("int16", "int32", "int64", "date", "timestamp", "timestamptz")
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
        rules: What must be true of each row beside types, `nullable` and key; of captured changes, too, but
            for `References`.
        on_violation: What to do with a row that breaks the contract, or with the change that brings it:
            refuse all that was read with it, or put it apart, in `quarantine/<source>/<name>/`, and publish
            the others.
        quarantine_at_most: Share of the rows; where more break the contract, it is not the rows that are
            wrong, and all is refused. Of a capture, of the rows that it begins with.
        description: What one row is.
    """

    name: Name
    description: Text
    read: Read
    columns: tuple[Column, ...] = Field(min_length=1)
    key: tuple[Name, ...] = ()
    time_column: Name | None = None
    may_be_empty: bool = False
    undeclared_columns: Literal["refuse", "ignore"] = "refuse"
    rules: tuple[Rule, ...] = ()
    on_violation: OnViolation = "refuse"
    quarantine_at_most: float = Field(default=0.1, gt=0, le=1)

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

    @model_validator(mode="after")
    def _ruled(self) -> "Table":
        columns = {column.name: column for column in self.columns}
        for rule in self.rules:
            if rule.column not in columns:
                raise ValueError(f"{rule.name}: declared columns are {', '.join(columns)}")
            if wrong := misfit(rule, columns[rule.column].type):
                raise ValueError(wrong)
        if len({rule.name for rule in self.rules}) < len(self.rules):
            raise ValueError("two rules of one kind are about one column")
        merged = self.read.incremental is not None or isinstance(self.read, RestApi)
        if merged and self.on_violation == "quarantine":
            raise ValueError("rows are put apart from tables that are read whole, not incremental or by REST")
        return self

    @model_validator(mode="after")
    def _readable(self) -> "Table":
        columns = {column.name: column for column in self.columns}
        if isinstance(self.read, RestApi):
            unknown = sorted(set(self.read.fields) - set(columns))
            if unknown:
                raise ValueError(f"read.fields names {', '.join(unknown)}, which are no declared columns")
        if self.read.incremental is None:
            return self
        cursor = columns.get(self.read.incremental.cursor)
        if cursor is None or cursor.nullable or cursor.type not in CURSOR_TYPES:
            accepted = ", ".join(CURSOR_TYPES)
            raise ValueError(f"incremental.cursor must be a declared column of {accepted}, never NULL")
        if not self.key:
            raise ValueError("an incremental table needs a key, by which a row replaces its older self")
        backfill = self.read.incremental.backfill
        if backfill is not None and isinstance(backfill.step, int) != cursor.type.startswith("int"):
            raise ValueError(
                "incremental.backfill.step is a number where the cursor is one, else a unit of time"
            )
        return self

    def column(self, name: str) -> Column:
        """The declared column of that name.

        Raises:
            KeyError: There is none.
        """
        return {column.name: column for column in self.columns}[name]

    @property
    def refers_to(self) -> frozenset[str]:
        """Names of the tables that its rules look up values in."""
        return frozenset(rule.table for rule in self.rules if isinstance(rule, References))

    @property
    def rules_of_changes(self) -> tuple[Range | OneOf | Matches, ...]:
        """The rules that captured changes are held to: those that a row keeps or breaks by itself."""
        return tuple(rule for rule in self.rules if not isinstance(rule, References))

    @property
    def contract_hash(self) -> str:
        """SHA-256 over what decides the bytes in the lake: columns, types, nullability, key, and rules."""
        if not self.rules and self.on_violation == "refuse":
            return self.schema_hash
        rules = [rule.model_dump(mode="json") for rule in self.rules]
        text = json.dumps([self.schema_hash, rules, self.on_violation], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def schema_hash(self) -> str:
        """SHA-256 over the form of a row: columns, types, nullability, key."""
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
        capture: How every change of some of its tables is brought to the lake, None where none is.
    """

    name: Name
    owner: Text
    description: Text
    tables: tuple[Table, ...] = Field(min_length=1)
    schedule: str | None = None
    capture: Capture | None = None

    @model_validator(mode="after")
    def _distinct(self) -> "Source":
        names = [table.name for table in self.tables]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"tables declared twice: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _referred(self) -> "Source":
        tables = {table.name: table for table in self.tables}
        for table in self.tables:
            for rule in table.rules:
                if isinstance(rule, References):
                    _check_reference(table, rule, tables)
        self.waves()
        return self

    @model_validator(mode="after")
    def _captured(self) -> "Source":
        kinds = {table.name: table.read.kind for table in self.tables}
        wrong = [
            name for name in (self.capture.tables if self.capture else ()) if kinds.get(name) != "database"
        ]
        if wrong:
            accepted = ", ".join(name for name, kind in kinds.items() if kind == "database")
            raise ValueError(f"capture names {', '.join(wrong)}; tables of a database are {accepted}")
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

    def waves(self, origin: str | None = None) -> tuple[tuple[Table, ...], ...]:
        """The tables, or those of one origin, such that each refers to tables of earlier waves only.

        Raises:
            ValueError: Tables refer to each other in a circle.
        """
        left = list(self.tables if origin is None else self.tables_of(origin))
        waves: list[tuple[Table, ...]] = []
        while left:
            waiting = {table.name for table in left}
            wave = tuple(table for table in left if not table.refers_to & waiting)
            if not wave:
                raise ValueError(f"tables refer to each other in a circle: {', '.join(sorted(waiting))}")
            waves.append(wave)
            left = [table for table in left if table not in wave]
        return tuple(waves)


def _check_reference(table: Table, rule: References, tables: dict[str, Table]) -> None:
    name, column = rule.target
    if name not in tables:
        raise ValueError(f"{table.name}: {rule.name}: declared tables are {', '.join(tables)}")
    other = tables[name]
    if other.read.origin != table.read.origin:
        raise ValueError(f"{table.name}: {rule.name}: {name} is read elsewhere, and not at the same instant")
    types = {found.name: found.type for found in other.columns}
    if types.get(column) != table.column(rule.column).type:
        raise ValueError(
            f"{table.name}: {rule.name}: {name}.{column} is {types.get(column, 'not declared')}, "
            f"and {rule.column} is {table.column(rule.column).type}"
        )
