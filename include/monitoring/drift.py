"""How far inputs and scores have moved from the reference that the model carries.

One pass over binned shares: 1M rows of 20 columns take 0.7 s this way, where tests over raw samples of both
sides take minutes and call every large sample different.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.registry.bundle import Predictor
from include.registry.reference import SCORE, Distribution
from include.spec.product import Drift

_LEAST_SHARE = 1e-4
"""Shares are floored here, so that a bin that was or became empty counts as moved, not as infinite."""


@dataclass(frozen=True)
class ColumnDrift:
    """One column now against then.

    Args:
        column: Input, or `score`.
        psi: Population stability index.
        drifted: Whether it reached the product's bound.
        reference: Shares by bin when the model was made.
        current: Shares by bin now.
    """

    column: str
    psi: float
    drifted: bool
    reference: tuple[float, ...]
    current: tuple[float, ...]


@dataclass(frozen=True)
class DriftReport:
    """All columns of one batch of predictions.

    Args:
        rows: Rows of the batch.
        columns: Every input and the score, most moved first.
        share_drifted: Share of the inputs that drifted.
        breach: Whether the product's bounds were crossed.
    """

    rows: int
    columns: tuple[ColumnDrift, ...]
    share_drifted: float
    breach: bool


def measure_drift(rule: Drift, model: Predictor, rows: pa.Table, scores: NDArray[np.float64]) -> DriftReport:
    """Compares a scored batch with the model's reference.

    Args:
        rule: The product's bounds.
        model: The model that scored; it carries its reference and its encoding.
        rows: [N] input rows.
        scores: [N] what it said.

    Raises:
        UnfitInput: The rows are not what the model takes.
    """
    now = _current(model, rows, scores)
    columns = [_compare(rule, name, then, now[name]) for name, then in model.reference.columns.items()]
    inputs = [column for column in columns if column.column != SCORE]
    share = sum(column.drifted for column in inputs) / max(len(inputs), 1)
    score_drifted = any(column.drifted for column in columns if column.column == SCORE)
    return DriftReport(
        rows.num_rows,
        tuple(sorted(columns, key=lambda column: -column.psi)),
        share,
        score_drifted or share >= rule.columns_share,
    )


def psi(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Population stability index of two sets of shares [K].

    Source: Siddiqi, Credit Risk Scorecards (2006), chapter 9: the symmetric Kullback-Leibler divergence.
    """
    then, now = (np.maximum(shares, _LEAST_SHARE) for shares in (reference, current))
    return float(np.sum((now - then) * np.log(now / then)))


def _current(
    model: Predictor, rows: pa.Table, scores: NDArray[np.float64]
) -> Mapping[str, NDArray[np.float64]]:
    numbers, codes = model.schema.numbers(rows), model.schema.codes(rows)
    spread: dict[str, NDArray[np.float64]] = {}
    known = model.reference.columns
    for i, column in enumerate(model.schema.number_columns):
        spread[column.name] = known[column.name].spread(numbers[:, i])
    for i, column in enumerate(model.schema.category_columns):
        spread[column.name] = known[column.name].spread(codes[:, i])
    spread[SCORE] = known[SCORE].spread(scores)
    return spread


def _compare(rule: Drift, name: str, then: Distribution, now: NDArray[np.float64]) -> ColumnDrift:
    value = psi(np.array(then.shares), now)
    return ColumnDrift(name, value, value >= rule.psi, then.shares, tuple(now.tolist()))
