"""How much each input is worth to a model: what the metric loses when the input's values are shuffled.

Asked of scores alone, so trees and networks answer it alike, and a table of them can be read side by side.

Shapes: N rows, F inputs.
Source: Breiman, Random Forests (2001), section 10; Fisher, Rudin & Dominici (JMLR 2019) for any model.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import pyarrow as pa

from include.evaluation.metrics import HIGHER_IS_BETTER, METRIC, Floats
from include.spec.product import Metric

ROWS = 1500
REPEATS = 3
BATCH_TABLES = 20


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
    orders = [pa.array(random.permutation(rows.num_rows)) for _ in range(REPEATS)]
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    scores = _predictions(predict, chain([inputs], _shuffled(inputs, orders)))
    whole, *values = (METRIC[metric](truth, one, np.ones_like(truth)) for one in scores)
    found = []
    for place, name in enumerate(inputs.column_names):
        losses = [sign * (whole - value) for value in values[place * REPEATS : (place + 1) * REPEATS]]
        found.append(Importance(name, float(np.mean(losses)), min(losses), max(losses)))
    return tuple(sorted(found, key=lambda one: (-one.loss, one.column)))


def _shuffled(inputs: pa.Table, orders: Sequence[pa.Array]) -> Iterator[pa.Table]:
    """The inputs with one column in another order: for each column, each of the orders."""
    for place in range(inputs.num_columns):
        for order in orders:
            yield inputs.set_column(place, inputs.field(place), inputs.column(place).take(order))


def _predictions(predict: Callable[[pa.Table], Floats], tables: Iterable[pa.Table]) -> Iterator[Floats]:
    """Scores of each table, asked for in batches: a call costs a tree model more than its rows do."""
    for batch in _batched(tables, BATCH_TABLES):
        scores = predict(pa.concat_tables(batch))
        yield from np.split(scores, len(batch))


def _batched(tables: Iterable[pa.Table], size: int) -> Iterator[list[pa.Table]]:
    """The tables in lists of `size`, the last one maybe shorter."""
    rest = iter(tables)
    while batch := list(islice(rest, size)):
        yield batch
