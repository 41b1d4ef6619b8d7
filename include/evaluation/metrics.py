"""Metrics with weights, so that one function serves the plain value and every bootstrap sample of it.

Shapes: N rows, P points of a curve, K bins.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from include.spec.product import Metric

Floats = NDArray[np.float64]
MetricOf = Callable[[Floats, Floats, Floats], float]
"""(truth [N], scores [N], weights [N]) -> value."""

HIGHER_IS_BETTER: dict[Metric, bool] = {
    "average_precision": True,
    "roc_auc": True,
    "log_loss": False,
    "brier": False,
    "rmse": False,
    "mae": False,
}

_FLOOR = 1e-15


def average_precision(truth: Floats, scores: Floats, weights: Floats) -> float:
    """Mean precision over the recall gained at each threshold, ties taken together.

    Source: Davis & Goadrich, The relationship between Precision-Recall and ROC curves (ICML 2006); the
    step-wise sum without interpolation.
    """
    hits, misses = _cumulated(truth, scores, weights)
    if hits[-1] == 0:
        return float("nan")
    gained = np.diff(hits, prepend=0.0) / hits[-1]
    kept = hits + misses > 0
    return float(np.sum(gained[kept] * hits[kept] / (hits + misses)[kept]))


def roc_auc(truth: Floats, scores: Floats, weights: Floats) -> float:
    """Chance that a positive row is scored above a negative one, ties counting half."""
    hits, misses = _cumulated(truth, scores, weights)
    if hits[-1] == 0 or misses[-1] == 0:
        return float("nan")
    area = np.trapezoid(np.concatenate([[0.0], hits]), np.concatenate([[0.0], misses]))
    return float(area / (hits[-1] * misses[-1]))


def log_loss(truth: Floats, scores: Floats, weights: Floats) -> float:
    """Mean negative log-likelihood in nats."""
    p = np.clip(scores, _FLOOR, 1 - _FLOOR)
    return float(np.average(-(truth * np.log(p) + (1 - truth) * np.log1p(-p)), weights=weights))


def brier(truth: Floats, scores: Floats, weights: Floats) -> float:
    """Mean squared difference between probability and outcome. Source: Brier (1950)."""
    return float(np.average((truth - scores) ** 2, weights=weights))


def rmse(truth: Floats, scores: Floats, weights: Floats) -> float:
    """Root of the mean squared error, in units of the label."""
    return float(np.sqrt(np.average((truth - scores) ** 2, weights=weights)))


def mae(truth: Floats, scores: Floats, weights: Floats) -> float:
    """Mean absolute error, in units of the label."""
    return float(np.average(np.abs(truth - scores), weights=weights))


METRIC: dict[Metric, MetricOf] = {
    "average_precision": average_precision,
    "roc_auc": roc_auc,
    "log_loss": log_loss,
    "brier": brier,
    "rmse": rmse,
    "mae": mae,
}


def no_skill(metric: Metric, truth: Floats) -> float:
    """What a constant guess reaches: the base rate or the mean, for MAE the median."""
    guess = float(np.median(truth)) if metric == "mae" else float(truth.mean())
    return METRIC[metric](truth, np.full_like(truth, guess), np.ones_like(truth))


@dataclass(frozen=True)
class Curves:
    """Points to plot.

    Args:
        false_positive_rate: [P] of the ROC curve, with `true_positive_rate` [P].
        recall: [P] of the precision-recall curve, with `precision` [P].
        predicted: [K] mean score of each bin of equally many rows, with `observed` [K] and `counts` [K].
    """

    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    counts: tuple[int, ...]


def curves(truth: Floats, scores: Floats, *, points: int = 200, bins: int = 10) -> Curves:
    """ROC, precision-recall and calibration curves of a binary label, thinned to `points`."""
    hits, misses = _cumulated(truth, scores, np.ones_like(truth))
    kept = np.unique(np.linspace(0, len(hits) - 1, min(points, len(hits))).astype(int))
    hits, misses = hits[kept], misses[kept]
    parts = np.array_split(np.argsort(scores, kind="stable"), min(bins, len(scores)))
    return Curves(
        _rounded(misses / max(misses[-1], 1)),
        _rounded(hits / max(hits[-1], 1)),
        _rounded(hits / max(hits[-1], 1)),
        _rounded(hits / (hits + misses)),
        _rounded(np.array([scores[part].mean() for part in parts])),
        _rounded(np.array([truth[part].mean() for part in parts])),
        tuple(len(part) for part in parts),
    )


def calibration_error(points: Curves) -> float:
    """Expected calibration error: mean gap between score and outcome over the bins, weighted by rows.

    Source: Naeini, Cooper & Hauskrecht, Obtaining well calibrated probabilities using binning (AAAI 2015).
    """
    gaps = np.abs(np.array(points.predicted) - np.array(points.observed))
    return float(np.average(gaps, weights=np.array(points.counts)))


def _cumulated(truth: Floats, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weighted hits and misses above each distinct score, highest score first."""
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum((weights * truth)[order])[last_of_tie]
    misses = np.cumsum((weights * (1 - truth))[order])[last_of_tie]
    return hits, misses


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)
