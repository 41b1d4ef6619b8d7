"""Rows that know their place, put back between rows that only know their order."""

from bisect import bisect_right
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.row_text import MISFIT, MISFIT_TYPE


def last_place(first: int, rows: int, places: Sequence[int]) -> int:
    """Number of the last row of a batch, where some of the places after the first are others'.

    Args:
        first: Number of the row before the batch.
        rows: Of the batch.
        places: Numbers of the other rows behind `first`, ascending.
    """
    last = first + rows
    while (reached := first + rows + bisect_right(places, last)) != last:
        last = reached
    return last


def woven(batch: pa.RecordBatch, first: int, places: Sequence[int], others: pa.RecordBatch) -> pa.RecordBatch:
    """A batch with other rows in it, each in its place.

    Args:
        batch: Rows in their order, in the declared columns, perhaps with `_misfit`.
        first: Number of the row before it.
        places: Numbers of the others, ascending.
        others: As many rows, of the same form.
    """
    taken = set(places)
    numbers = range(first + 1, first + batch.num_rows + len(places) + 1)
    free = [number for number in numbers if number not in taken]
    both = pa.Table.from_batches([_widened(batch), _widened(others)])
    order = pc.sort_indices(pa.array([*free, *places], pa.int64()))
    return both.take(order).combine_chunks().to_batches()[0]


def _widened(batch: pa.RecordBatch) -> pa.RecordBatch:
    if MISFIT in batch.schema.names:
        return batch
    return batch.append_column(MISFIT, pa.nulls(batch.num_rows, MISFIT_TYPE))
