"""Batch scoring: rows as of one moment in, predictions that name what made them out."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.registry.bundle import Predictor
from include.spec.refs import CommitRef, ModelRef

SCORE = "score"
PREDICTED_AT = "predicted_as_of"
MODEL_VERSION = "model_version"
MODEL_DIGEST = "model_digest"
FEATURE_COMMIT = "feature_commit"


def predictions_prefix(product: str) -> str:
    """Folder of a product's predictions in the lake."""
    return f"predictions/{product}"


def predictions_name(as_of: datetime) -> str:
    """File of one batch: one per moment, so that scoring again replaces and never doubles."""
    return f"as_of={as_of:%Y-%m-%dT%H%M%S}.parquet"


def score(
    predictor: Predictor,
    model: ModelRef,
    rows: pa.Table,
    *,
    keys: Sequence[str],
    features_at: CommitRef,
    as_of: datetime,
) -> pa.Table:
    """Scores every row.

    Args:
        predictor: The loaded champion.
        model: Its reference.
        rows: [N] rows with keys and features, one per prediction.
        keys: Columns that say what is predicted, and for when.
        features_at: Commit that the features were read at.
        as_of: Moment whose knowledge the rows hold.

    Returns:
        [N] rows in order of the keys: the keys, `score`, and what made it.

    Raises:
        UnfitInput: A feature is missing or of another type than the model was trained on.
    """
    scored = rows.select(list(keys))
    count = rows.num_rows

    def same(value: str) -> pa.Array:
        return pa.repeat(pa.scalar(value), count)

    scored = scored.append_column(SCORE, pa.array(predictor.predict(rows), pa.float64()))
    scored = scored.append_column(PREDICTED_AT, pa.repeat(pa.scalar(as_of, pa.timestamp("us")), count))
    scored = scored.append_column(MODEL_VERSION, same(model.version))
    scored = scored.append_column(MODEL_DIGEST, same(model.digest))
    scored = scored.append_column(FEATURE_COMMIT, same(features_at.commit))
    return scored.take(pc.sort_indices(scored, sort_keys=[(key, "ascending") for key in keys]))


def write(predictions: pa.Table, folder: Path, as_of: datetime) -> Path:
    """Writes one batch as it lies in the lake; the same predictions give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / predictions_name(as_of)
    pq.write_table(predictions, path, compression="zstd")
    return path
