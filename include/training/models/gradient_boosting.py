"""Gradient-boosted trees by XGBoost."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.registry.bundle import TREES, tree_matrix
from include.registry.schema import InputSchema
from include.spec.training import GradientBoosting
from include.training.data import Part, TrainingData
from include.training.progress import Report, Step

METRIC_OF = {"binary": "logloss", "regression": "rmse"}
OBJECTIVE_OF = {"binary": "binary:logistic", "regression": "reg:squarederror"}


def fit(config: GradientBoosting, data: TrainingData, folder: Path, report: Report) -> dict[str, Any]:
    """Grows trees until the validation loss stops falling and writes them, cut at the best round.

    Returns:
        What happened: `rounds` kept and the validation loss at the last of them.
    """
    import xgboost

    metric = METRIC_OF[config.objective]
    matrices = [(_matrix(data.schema, part), name) for part, name in _parts(data)]
    booster = xgboost.train(
        parameters(config),
        matrices[0][0],
        num_boost_round=config.rounds,
        evals=matrices,
        verbose_eval=False,
        callbacks=[
            xgboost.callback.EarlyStopping(rounds=config.early_stopping, metric_name=metric, save_best=True),
            _reporter(metric, report),
        ],
    )
    (folder / TREES).write_bytes(booster.save_raw("ubj"))
    return {"rounds": booster.num_boosted_rounds(), "validation_loss": float(booster.best_score)}


def parameters(config: GradientBoosting) -> dict[str, Any]:
    """The configuration in XGBoost's own words."""
    return {
        "objective": OBJECTIVE_OF[config.objective],
        "eval_metric": METRIC_OF[config.objective],
        "eta": config.learning_rate,
        "max_depth": config.max_depth,
        "min_child_weight": config.min_child_weight,
        "subsample": config.subsample,
        "colsample_bytree": config.colsample,
        "lambda": config.l2,
        "seed": config.seed,
        "tree_method": "hist",
        "max_cat_to_onehot": 8,
    }


def _parts(data: TrainingData) -> list[tuple[Part, str]]:
    # Early stopping watches the last of them.
    return [(data.train, "train"), (data.validation, "validation")]


def _matrix(schema: InputSchema, part: Part) -> Any:
    import xgboost

    kinds = ["float"] * len(schema.number_columns) + ["c"] * len(schema.category_columns)
    names = [column.name for column in schema.columns]
    values: NDArray[np.float32] = tree_matrix(schema, part.rows)
    return xgboost.DMatrix(
        values, part.label, feature_names=names, feature_types=kinds, enable_categorical=True
    )


def _reporter(metric: str, report: Report) -> Any:
    import xgboost

    class Reporter(xgboost.callback.TrainingCallback):
        def after_iteration(self, _model: Any, epoch: int, evals_log: Any) -> bool:
            report(Step(epoch, evals_log["train"][metric][-1], evals_log["validation"][metric][-1]))
            return False

    return Reporter()
