"""Everything that is said of one model on one set of rows: metrics with intervals, slices, curves."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.evaluation.bootstrap import Interval, compare, entity_index, interval
from include.evaluation.importance import Importance
from include.evaluation.metrics import METRIC, Curves, Floats, calibration_error, curves, no_skill
from include.spec.product import METRICS_OF, Gate, Metric

INTERVAL_RESAMPLES = 300


@dataclass(frozen=True)
class Slice:
    """The primary metric where one column has one value.

    Args:
        column: Feature column.
        value: Its value, as text.
        rows: Rows of the slice.
        metric: The primary metric there.
        no_skill: What a constant guess reaches there.
        p_value: Of a constant guess being no better than the model there, by the same paired resampling that
            compares two models; None where the slice has too few rows to be judged, or one outcome only.
    """

    column: str
    value: str
    rows: int
    metric: float
    no_skill: float
    p_value: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on the rows it was given.

    Args:
        rows: How many rows.
        base_rate: Mean of the label.
        metrics: Each metric of the objective with its interval.
        no_skill: The primary metric of a constant guess.
        calibration_error: Expected calibration error; None for numbers.
        slices: The primary metric by slice, largest slice first.
        curves: Points to plot; None for numbers.
        importance: Of each input, most worth first; empty where only scores were at hand.
    """

    rows: int
    base_rate: float
    metrics: dict[Metric, Interval]
    no_skill: float
    calibration_error: float | None
    slices: tuple[Slice, ...]
    curves: Curves | None
    importance: tuple[Importance, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document kept with the model."""
        return asdict(self)


def evaluate(
    gate: Gate,
    objective: str,
    rows: pa.Table,
    truth: Floats,
    scores: Floats,
    entities: NDArray[np.int64],
    importance: Sequence[Importance] = (),
) -> Evaluation:
    """Measures scores against the truth.

    Args:
        gate: Names the primary metric and the slices.
        objective: `binary` or `regression`.
        rows: [N] rows with the slices' columns.
        truth: [N] outcomes.
        scores: [N] predictions.
        entities: [N] entity numbers, resampled as wholes.
        importance: Of the inputs, where the model itself was at hand.
    """
    metrics = {
        name: interval(name, truth, scores, entities, resamples=INTERVAL_RESAMPLES)
        for name in METRICS_OF[objective]
    }
    points = curves(truth, scores) if objective == "binary" else None
    return Evaluation(
        rows=len(truth),
        base_rate=float(truth.mean()),
        metrics=metrics,
        no_skill=no_skill(gate.primary, truth),
        calibration_error=calibration_error(points) if points else None,
        slices=tuple(_slices(gate, rows, truth, scores, entities)),
        curves=points,
        importance=tuple(importance),
    )


def _slices(
    gate: Gate, rows: pa.Table, truth: Floats, scores: Floats, entities: NDArray[np.int64]
) -> list[Slice]:
    found = []
    for column in gate.slices:
        values = rows[column].cast(pa.string())
        for value in pc.unique(values).to_pylist():
            chosen = np.asarray(
                pc.is_null(values) if value is None else pc.fill_null(pc.equal(values, value), False)
            )
            found.append(
                _slice(
                    gate, column, str(value), truth[chosen], scores[chosen], entity_index(entities[chosen])
                )
            )
    return sorted(found, key=lambda part: (part.column, -part.rows, part.value))


def _slice(
    gate: Gate, column: str, value: str, truth: Floats, scores: Floats, entities: NDArray[np.int64]
) -> Slice:
    """The metric there, and whether a constant guess is better beyond chance: few outcomes decide nothing."""
    metric = METRIC[gate.primary](truth, scores, np.ones_like(truth))
    p_value = None
    if len(truth) >= gate.slice_min_rows and not math.isnan(metric):
        rule = gate.better_than_champion.model_copy(update={"margin": 0.0, "resamples": INTERVAL_RESAMPLES})
        constant = np.full_like(truth, truth.mean())
        p_value = compare(rule, gate.primary, truth, constant, scores, entities).p_value
    return Slice(column, value, len(truth), metric, no_skill(gate.primary, truth), p_value)
