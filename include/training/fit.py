"""From a pinned training set to a candidate's bundle: light configurations, heavy implementations."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from include.registry.bundle import Predictor, digest, load, write_documents
from include.registry.reference import Reference, make_reference
from include.spec.training import GradientBoosting, TabularNet, TrainConfig
from include.training.data import TrainingData, training_data
from include.training.progress import Report, Step

LIBRARIES = {
    "gradient_boosting": ("xgboost-cpu", "numpy", "pyarrow"),
    "tabular_net": ("torch", "onnx", "numpy", "pyarrow"),
}


@dataclass(frozen=True)
class Candidate:
    """A fitted model that no gate has judged yet.

    Args:
        folder: Its bundle.
        digest: The bundle's digest.
        training: The document `training.json`.
        curve: Losses of every step.
    """

    folder: Path
    digest: str
    training: dict[str, Any]
    curve: tuple[Step, ...]


def fit_candidate(
    config: TrainConfig,
    training_set: pa.Table,
    *,
    label: str,
    features: Sequence[str],
    folder: Path,
    report: Report | None = None,
) -> Candidate:
    """Fits on the training rows, stops by the validation rows, and never looks at the test rows.

    The same configuration, rows and device class give the same bytes, so the digest of a rebuilt model proves
    that it is the registered one.

    Args:
        config: What to fit.
        training_set: Rows with the label, a `split` column, and the features.
        label: Column of the truth.
        features: Input columns.
        folder: Empty folder that becomes the bundle.
        report: Told of each step.

    Raises:
        TrainingError: A split is empty or of one class, or the label is missing somewhere.
        UnfitInput: A feature is absent or of a type that no model takes.
    """
    curve: list[Step] = []

    def note(step: Step) -> None:
        curve.append(step)
        if report is not None:
            report(step)

    data = training_data(training_set, label, features, config.objective)
    folder.mkdir(parents=True, exist_ok=True)
    outcome = _fit(config, data, folder, note)
    training = {
        "config": config.model_dump(mode="json"),
        "label": label,
        "rows": {"train": data.train.rows.num_rows, "validation": data.validation.rows.num_rows},
        "hardware_class": f"{outcome.pop('device', 'cpu')}/{platform.machine()}",
        "libraries": {name: version(name) for name in LIBRARIES[config.kind]},
        **outcome,
    }
    write_documents(folder, data.schema, Reference({}), training)
    predictor = load(folder, expected_digest=digest(folder))
    write_documents(folder, data.schema, _reference(predictor, data), training)
    return Candidate(folder, digest(folder), training, tuple(curve))


def _fit(config: TrainConfig, data: TrainingData, folder: Path, report: Report) -> dict[str, Any]:
    match config:
        case GradientBoosting():
            from include.training.models import gradient_boosting

            return gradient_boosting.fit(config, data, folder, report)
        case TabularNet():
            from include.training.models import tabular_net

            return tabular_net.fit(config, data, folder, report)


def _reference(predictor: Predictor, data: TrainingData) -> Reference:
    return make_reference(data.schema, data.train.rows, predictor.predict(data.validation.rows))
