"""A training set split as it was pinned, encoded by what its training rows taught.

Shapes: N rows, F number columns, C category columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.registry.schema import InputSchema, fit_schema
from include.training.errors import TrainingError

SPLIT = "split"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """The rows of one split.

    Args:
        rows: [N] the rows themselves, features and all.
        label: [N] float32 truth.
    """

    rows: pa.Table
    label: NDArray[np.float32]


@dataclass(frozen=True)
class TrainingData:
    """What fitting may look at: the test split is not in it."""

    schema: InputSchema
    train: Part
    validation: Part


def training_data(
    training_set: pa.Table, label: str, features: Sequence[str], objective: str
) -> TrainingData:
    """Takes the training and validation rows and fits the encoding on the former.

    Raises:
        TrainingError: A split has no rows, or a binary label has one class only, or is missing somewhere.
        UnfitInput: A feature is absent or of a type no model takes.
    """
    train, validation = (_part(training_set, name, label, objective) for name in SPLITS[:2])
    return TrainingData(fit_schema(train.rows, features), train, validation)


def _part(training_set: pa.Table, split: str, label: str, objective: str) -> Part:
    rows = training_set.filter(pc.equal(training_set[SPLIT], split))
    if rows.num_rows == 0:
        raise TrainingError(
            f"The {split} split has no rows.",
            remedy="Train as of a later date, or shorten the periods in the product's split.",
        )
    if rows[label].null_count:
        raise TrainingError(
            f"The label {label!r} is missing in {rows[label].null_count} of {rows.num_rows} {split} rows.",
            remedy="A row whose truth is unknown does not belong in the label table.",
        )
    truth = rows[label].cast(pa.float32()).to_numpy()
    if objective == "binary" and len(np.unique(truth)) != 2:
        raise TrainingError(
            f"The {split} split has one class of {label!r} only, over {rows.num_rows} rows.",
            remedy="Train as of a later date, or lengthen the period in the product's split.",
        )
    return Part(rows, truth)
