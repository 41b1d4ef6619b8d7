"""The columns a model takes, and the state to encode them: fitted on training rows, never refitted.

Shapes: N rows, F number columns, C category columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.registry.errors import UnfitInput

MISSING = 0
"""The code of a category that is absent or was never seen in training."""


@dataclass(frozen=True)
class InputColumn:
    """One input of a model with its encoding.

    Args:
        name: Column of the feature tables.
        kind: `number` (floats, integers, decimals, booleans) or `category` (strings).
        fill: Median of the training rows, for models that cannot take a missing number.
        mean: Mean of the training rows after filling.
        scale: Standard deviation of the training rows after filling; 1 where it is 0.
        categories: Values seen in training, sorted; the first has code 1.
    """

    name: str
    kind: Literal["number", "category"]
    fill: float = 0.0
    mean: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class InputSchema:
    """The ordered inputs of a model: numbers first, then categories."""

    columns: tuple[InputColumn, ...]

    @property
    def number_columns(self) -> tuple[InputColumn, ...]:
        """The F numeric inputs, in order."""
        return tuple(c for c in self.columns if c.kind == "number")

    @property
    def category_columns(self) -> tuple[InputColumn, ...]:
        """The C categorical inputs, in order."""
        return tuple(c for c in self.columns if c.kind == "category")

    def numbers(self, table: pa.Table) -> NDArray[np.float32]:
        """[N, F] float32, NaN where a number is missing.

        Raises:
            UnfitInput: A column is absent or not numeric.
        """
        columns = [_as_numbers(table, c.name) for c in self.number_columns]
        return np.column_stack(columns) if columns else np.empty((table.num_rows, 0), np.float32)

    def codes(self, table: pa.Table) -> NDArray[np.int64]:
        """[N, C] int64: 1 + position among the training categories, `MISSING` for anything else.

        Raises:
            UnfitInput: A column is absent or not of strings.
        """
        columns = [_as_codes(table, c) for c in self.category_columns]
        return np.column_stack(columns) if columns else np.empty((table.num_rows, 0), np.int64)

    def to_json(self) -> list[dict[str, Any]]:
        """The document kept in the bundle."""
        return [{**vars(c), "categories": list(c.categories)} for c in self.columns]

    @staticmethod
    def from_json(document: Sequence[dict[str, Any]]) -> "InputSchema":
        """The schema that `to_json` wrote."""
        return InputSchema(
            tuple(InputColumn(**{**row, "categories": tuple(row["categories"])}) for row in document)
        )


def fit_schema(training_rows: pa.Table, features: Sequence[str]) -> InputSchema:
    """Learns the encoding of each feature from the training rows alone.

    Args:
        training_rows: The rows of the training split; any other would leak the future.
        features: Names of the input columns.

    Raises:
        UnfitInput: A feature is absent, or neither numeric nor of strings.
    """
    fitted = [_fit_column(training_rows, name) for name in features]
    return InputSchema(tuple(sorted(fitted, key=lambda column: column.kind == "category")))


def _fit_column(rows: pa.Table, name: str) -> InputColumn:
    column = _column(rows, name)
    if _is_text(column.type):
        seen = pc.unique(column.drop_null()).to_pylist()
        return InputColumn(name, "category", categories=tuple(sorted(map(str, seen))))
    values = _as_numbers(rows, name).astype(np.float64)
    known = values[~np.isnan(values)]
    fill = float(np.median(known)) if known.size else 0.0
    filled = np.where(np.isnan(values), fill, values)
    scale = float(filled.std()) if filled.size else 1.0
    return InputColumn(name, "number", fill, float(filled.mean()) if filled.size else 0.0, scale or 1.0)


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise UnfitInput(
            f"Column {name!r} is missing; the model takes it.",
            remedy="Rebuild the features, or train on those there are.",
        )
    column = table[name]
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _as_numbers(table: pa.Table, name: str) -> NDArray[np.float32]:
    column = _column(table, name)
    kind = column.type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    ):
        raise UnfitInput(
            f"Column {name!r} has type {kind}; accepted: integers, floats, decimals, booleans and strings.",
            remedy="Cast it in the feature model, or exclude it in the product.",
        )
    values = column.cast(pa.float32(), safe=False).to_numpy()
    return np.where(np.isinf(values), np.float32("nan"), values)


def _as_codes(table: pa.Table, column: InputColumn) -> NDArray[np.int64]:
    values = _column(table, column.name)
    if not _is_text(values.type):
        raise UnfitInput(
            f"Column {column.name!r} has type {values.type}; the model was trained on strings.",
            remedy="Rebuild the features with the type of their contract.",
        )
    known = pa.array(column.categories, type=values.type)
    found = pc.index_in(values, value_set=known, skip_nulls=True)
    codes: NDArray[np.int64] = pc.add(pc.fill_null(found, MISSING - 1), 1).to_numpy().astype(np.int64)
    return codes
