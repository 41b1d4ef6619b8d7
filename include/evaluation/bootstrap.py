"""Uncertainty by resampling whole entities: rows of one household are not independent of each other.

A bootstrap sample is a weight per row (how often its entity was drawn), so a metric that takes weights needs
no copies of rows, and two models compared under the same weights are paired by construction.

Shapes: N rows, E entities, R resamples.
Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 8, 13 and 16.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from include.evaluation.metrics import HIGHER_IS_BETTER, METRIC, Floats
from include.spec.product import Metric, PairedBootstrap


@dataclass(frozen=True)
class Interval:
    """A metric with its percentile interval.

    Args:
        value: On the rows as they are.
        low: Lower end.
        high: Upper end.
        level: Coverage, such as 0.9.
    """

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Comparison:
    """The challenger against the champion on the same rows.

    Args:
        metric: The metric that was compared.
        gain: Challenger's advantage, in units of the metric; positive is better whatever its direction.
        low: One-sided lower bound of the gain at the test's level.
        p_value: Share of resamples in which the gain did not exceed the margin.
        rows: Rows compared.
        entities: Entities resampled.
        better: Whether the gain exceeds the margin beyond chance.
        high: One-sided upper bound of the gain at the test's level.
    """

    metric: Metric
    gain: float
    low: float
    p_value: float
    rows: int
    entities: int
    better: bool
    high: float | None = None


def entity_index(keys: NDArray[np.generic]) -> NDArray[np.int64]:
    """[N] number of each row's entity, from 0, for [N] keys."""
    numbers: NDArray[np.int64] = np.unique(keys, return_inverse=True)[1].astype(np.int64)
    return numbers


def interval(
    metric: Metric,
    truth: Floats,
    scores: Floats,
    entities: NDArray[np.int64],
    *,
    resamples: int,
    level: float = 0.9,
    seed: int = 17,
) -> Interval:
    """The metric on all rows, and the percentile interval over resampled entities."""
    of = METRIC[metric]
    drawn = np.array([of(truth, scores, weights) for weights in _weights(entities, resamples, seed)])
    drawn = drawn[~np.isnan(drawn)]
    value = of(truth, scores, np.ones_like(truth))
    if not drawn.size:
        return Interval(value, float("nan"), float("nan"), level)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level)


def compare(
    rule: PairedBootstrap,
    metric: Metric,
    truth: Floats,
    challenger: Floats,
    champion: Floats,
    entities: NDArray[np.int64],
    *,
    seed: int = 17,
) -> Comparison:
    """Tests whether the challenger is better by more than the margin, at the rule's level.

    Args:
        rule: Level, resamples and margin.
        metric: What is compared.
        truth: [N] outcomes.
        challenger: [N] scores of the new model.
        champion: [N] scores of the current one, on the same rows.
        entities: [N] from `entity_index`.
        seed: Seed of the draws.
    """
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    of = METRIC[metric]

    def gain_under(weights: Floats) -> float:
        return sign * (of(truth, challenger, weights) - of(truth, champion, weights))

    drawn = np.array([gain_under(weights) for weights in _weights(entities, rule.resamples, seed)])
    drawn = drawn[~np.isnan(drawn)]
    gain = gain_under(np.ones_like(truth))
    # The +1 keeps a p-value from being 0: no test of R draws can say less than 1 / (R + 1).
    p_value = (1 + int(np.sum(drawn <= rule.margin))) / (1 + drawn.size)
    low, high = np.quantile(drawn, [rule.alpha, 1 - rule.alpha]) if drawn.size else (float("nan"),) * 2
    return Comparison(
        metric=metric,
        gain=gain,
        low=float(low),
        p_value=p_value,
        rows=len(truth),
        entities=int(entities.max()) + 1,
        better=bool(p_value <= rule.alpha),
        high=float(high),
    )


def _weights(entities: NDArray[np.int64], resamples: int, seed: int) -> Iterator[Floats]:
    """Yields R times the weights [N] of one bootstrap sample of the E entities."""
    random = np.random.default_rng(seed)
    count = int(entities.max()) + 1
    for _ in range(resamples):
        times_E = np.bincount(random.integers(0, count, count), minlength=count)
        yield times_E[entities].astype(np.float64)
