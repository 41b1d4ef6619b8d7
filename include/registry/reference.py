"""What inputs and scores looked like when the model was made: kept with it, compared with ever after.

Shapes: K bins of one column; the last bin counts the missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.registry.schema import InputColumn, InputSchema

SCORE = "score"
"""Name of the model's own output among the columns of a reference."""

BINS = 10


@dataclass(frozen=True)
class Distribution:
    """How one column was spread over its bins.

    Args:
        kind: `number` or `category`.
        edges: Inner cut points of a number, ascending; empty for a category.
        categories: Values of a category, in the order of their bins; empty for a number.
        shares: [K] share of rows in each bin, the missing (and unseen categories) last; sums to 1.
        rows: How many rows were counted.
    """

    kind: Literal["number", "category"]
    edges: tuple[float, ...]
    categories: tuple[str, ...]
    shares: tuple[float, ...]
    rows: int

    def spread(self, values: NDArray[np.floating[Any]] | NDArray[np.int64]) -> NDArray[np.float64]:
        """[K] shares of other rows over the same bins.

        Args:
            values: [N] numbers with NaN where missing; for a category [N] codes of the model's schema.
        """
        if self.kind == "number":
            return _number_shares(values, self.edges)
        return _category_shares(values, len(self.categories))


@dataclass(frozen=True)
class Reference:
    """The distributions of every input and of the score, by column name."""

    columns: Mapping[str, Distribution]

    def to_json(self) -> dict[str, Any]:
        """The document kept in the bundle."""
        return {name: vars(column) for name, column in self.columns.items()}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "Reference":
        """The reference that `to_json` wrote."""
        return Reference(
            {
                name: Distribution(
                    row["kind"],
                    tuple(row["edges"]),
                    tuple(row["categories"]),
                    tuple(row["shares"]),
                    row["rows"],
                )
                for name, row in document.items()
            }
        )


def make_reference(schema: InputSchema, inputs: pa.Table, scores: NDArray[np.floating[Any]]) -> Reference:
    """Counts the rows that the model was made from.

    Args:
        schema: The model's inputs.
        inputs: Rows of the training split.
        scores: [M] scores of rows that fitting did not see, so that they are as scores will be.
    """
    numbers, codes = schema.numbers(inputs), schema.codes(inputs)
    columns = {c.name: _of_number(numbers[:, i]) for i, c in enumerate(schema.number_columns)}
    columns |= {c.name: _of_category(codes[:, i], c) for i, c in enumerate(schema.category_columns)}
    columns[SCORE] = _of_number(scores)
    return Reference(columns)


def _of_number(values: NDArray[np.floating[Any]]) -> Distribution:
    known = values[~np.isnan(values)]
    cuts = np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]) if known.size else np.empty(0)
    edges = tuple(float(edge) for edge in np.unique(cuts))
    return Distribution("number", edges, (), tuple(_number_shares(values, edges).tolist()), len(values))


def _of_category(codes: NDArray[np.int64], column: InputColumn) -> Distribution:
    shares = _category_shares(codes, len(column.categories))
    return Distribution("category", (), column.categories, tuple(shares.tolist()), len(codes))


def _number_shares(values: NDArray[Any], edges: tuple[float, ...]) -> NDArray[np.float64]:
    missing = np.isnan(values)
    bins = np.searchsorted(np.asarray(edges), values[~missing], side="left")
    counts = np.append(np.bincount(bins, minlength=len(edges) + 1), missing.sum())
    return np.asarray(counts / max(counts.sum(), 1), dtype=np.float64)


def _category_shares(codes: NDArray[Any], categories: int) -> NDArray[np.float64]:
    counts = np.roll(np.bincount(codes.astype(np.int64), minlength=categories + 1), -1)
    return np.asarray(counts / max(counts.sum(), 1), dtype=np.float64)
