"""How much each input is worth to a model: what the metric loses when the input's values are shuffled.

Asked of scores alone, so trees and networks answer it alike, and a table of them can be read side by side.

Shapes: N rows, F inputs.
Source: Breiman, Random Forests (2001), section 10; Fisher, Rudin & Dominici (JMLR 2019) for any model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from include.evaluation.metrics import HIGHER_IS_BETTER, METRIC, Floats
from include.spec.product import Metric

ROWS = 1500
REPEATS = 3


@dataclass(frozen=True)
class Importance:
    """One input's worth.

    Args:
        column: Name of the input.
        loss: What the metric lost on average when the column was shuffled; in units of the metric, positive
            where the model was worse without it, whatever the metric's direction.
        low: The least that it lost in one shuffling.
        high: The most.
    """

    column: str
    loss: float
    low: float
    high: float


def permutation_importance(
    predict: Callable[[pa.Table], Floats],
    columns: Sequence[str],
    rows: pa.Table,
    truth: Floats,
    metric: Metric,
    *,
    seed: int = 17,
) -> tuple[Importance, ...]:
    """The worth of every input on rows that fitting never saw, most worth first.

    Its cost is bounded by `ROWS` x `REPEATS` predictions per input: of more rows a sample is taken.

    Args:
        predict: [N] scores of a table of N rows.
        columns: The F inputs.
        rows: [N] rows with the inputs.
        truth: [N] outcomes.
        metric: What is lost.
        seed: Of the sample and of the shuffling; the same seed gives the same numbers.
    """
    random = np.random.default_rng(seed)
    if rows.num_rows > ROWS:
        sample = np.sort(random.choice(rows.num_rows, ROWS, replace=False))
        rows, truth = rows.take(pa.array(sample)), truth[sample]
    inputs = rows.select(list(columns)).combine_chunks()
    orders = [random.permutation(rows.num_rows) for _ in range(REPEATS)]
    even = np.ones_like(truth)
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    whole = METRIC[metric](truth, predict(inputs), even)
    found = []
    for place, name in enumerate(inputs.column_names):
        losses = []
        for order in orders:
            shuffled = inputs.set_column(
                place, inputs.field(place), inputs.column(place).take(pa.array(order))
            )
            losses.append(sign * (whole - METRIC[metric](truth, predict(shuffled), even)))
        found.append(Importance(name, float(np.mean(losses)), min(losses), max(losses)))
    return tuple(sorted(found, key=lambda one: (-one.loss, one.column)))
