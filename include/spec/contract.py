"""What must be true of each row of a table, beside its types: rules that one row keeps or breaks by itself.

A value that is not there keeps every rule; whether it may be absent is said by the column's `nullable`.
"""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from include.spec.declaration import Declaration, Name

Bound = int | float | Decimal | date | datetime
OnViolation = Literal["refuse", "quarantine"]


class Range(Declaration):
    """A column's value lies between bounds; leave one out for none.

    Args:
        column: Which.
        minimum: The least value that is fine.
        maximum: The greatest value that is fine.
    """

    kind: Literal["range"] = "range"
    column: Name
    minimum: Bound | None = None
    maximum: Bound | None = None

    @model_validator(mode="after")
    def _bounded(self) -> "Range":
        if self.minimum is None and self.maximum is None:
            raise ValueError("a range needs a minimum or a maximum")
        return self

    @property
    def name(self) -> str:
        """What the rule is called where rows that broke it are kept."""
        return f"range({self.column})"

    @property
    def accepted(self) -> str:
        """What keeps the rule, for people."""
        if self.maximum is None:
            return f"{self.minimum} or more"
        return f"{self.maximum} or less" if self.minimum is None else f"{self.minimum} to {self.maximum}"


class OneOf(Declaration):
    """A column holds one of a few values.

    Args:
        column: Which.
        values: They.
    """

    kind: Literal["one_of"] = "one_of"
    column: Name
    values: tuple[str | int, ...] = Field(min_length=1)

    @property
    def name(self) -> str:
        """What the rule is called where rows that broke it are kept."""
        return f"one_of({self.column})"

    @property
    def accepted(self) -> str:
        """What keeps the rule, for people."""
        return ", ".join(repr(value) for value in self.values)


class Matches(Declaration):
    """A text column matches a regular expression as a whole.

    Args:
        column: Which.
        pattern: In RE2's syntax: no look-around, no back-references.
    """

    kind: Literal["matches"] = "matches"
    column: Name
    pattern: str

    @model_validator(mode="after")
    def _compiles(self) -> "Matches":
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}") from error
        if re.search(r"\(\?<?[=!]|\\[1-9]|\(\?P=", self.pattern):
            raise ValueError(f"pattern {self.pattern!r} looks around or back, which RE2 does not")
        return self

    @property
    def name(self) -> str:
        """What the rule is called where rows that broke it are kept."""
        return f"matches({self.column})"

    @property
    def accepted(self) -> str:
        """What keeps the rule, for people."""
        return f"text that matches {self.pattern}"


class References(Declaration):
    """A column's value is there in another table of the same landing, among the rows that pass its contract.

    Asked of batches only, whose tables are of one instant. Captured changes are not held to it: the row that
    is referred to may come later in their transaction; and where the source promises that it comes at all,
    its foreign key refuses what breaks the promise.

    Args:
        column: Which.
        table: The other table; read from the same origin, so that both are of one instant.
        to: Its column; the same name where it is left out.
    """

    kind: Literal["references"] = "references"
    column: Name
    table: Name
    to: Name | None = None

    @property
    def target(self) -> tuple[str, str]:
        """Table and column that hold the known values."""
        return self.table, self.to or self.column

    @property
    def name(self) -> str:
        """What the rule is called where rows that broke it are kept."""
        return f"references({self.column})"

    @property
    def accepted(self) -> str:
        """What keeps the rule, for people."""
        return "a value of {}.{}".format(*self.target)


Rule = Annotated[Range | OneOf | Matches | References, Field(discriminator="kind")]

INTEGERS = ("int16", "int32", "int64")


def misfit(rule: Range | OneOf | Matches | References, type_: str) -> str:
    """Why a rule cannot be asked of a column of a type; empty where it can.

    Args:
        rule: Which.
        type_: Declared type of its column.
    """
    if isinstance(rule, Matches) and type_ != "string":
        return f"{rule.name} is for text, and the column is {type_}"
    if isinstance(rule, OneOf):
        fitting = str if type_ == "string" else int
        if type_ not in ("string", *INTEGERS) or any(not isinstance(value, fitting) for value in rule.values):
            return f"{rule.name} needs values of the column's type, which is {type_}"
    if isinstance(rule, Range):
        bounds = [bound for bound in (rule.minimum, rule.maximum) if bound is not None]
        if any(not _comparable(bound, type_) for bound in bounds):
            return f"{rule.name} needs bounds of the column's type, which is {type_}"
    return ""


def _comparable(bound: Bound, type_: str) -> bool:
    if type_ in {"timestamp", "timestamptz"}:
        return isinstance(bound, datetime) and (bound.tzinfo is not None) == (type_ == "timestamptz")
    if type_ == "date":
        return isinstance(bound, date) and not isinstance(bound, datetime)
    if type_ in INTEGERS:
        return isinstance(bound, int)
    if type_.startswith("float"):
        return isinstance(bound, int | float)
    return type_.startswith("decimal") and isinstance(bound, int | Decimal)
