"""What goes out: a model product is one declaration of label, features, training, gate and care."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from include.spec.declaration import Declaration, Name
from include.spec.training import TrainConfig

Metric = Literal["average_precision", "roc_auc", "log_loss", "brier", "rmse", "mae"]
METRICS_OF: dict[str, tuple[Metric, ...]] = {
    "binary": ("average_precision", "roc_auc", "log_loss", "brier"),
    "regression": ("rmse", "mae"),
}
"""The metrics that a gate may name, by training objective."""

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


def days(count: int) -> timedelta:
    """`count` days, for declarations that read as sentences."""
    return timedelta(days=count)


class Label(Declaration):
    """Where the truth is, and when it is known.

    Args:
        table: Feature table that holds the labels, with the entity key and `event_timestamp`.
        column: Column of the label.
        matures_after: The longest time from the event to the truth; each row's own time, where the table
            has one, is its `matured_timestamp`.
    """

    table: Name
    column: Name
    matures_after: timedelta


class Split(Declaration):
    """Periods at the end of the matured labels, by event time: training, then validation, then test.

    Rows whose label had not matured when the next period began are dropped: their truth was not yet known.

    Args:
        validation: Length of the period that early stopping and calibration may look at.
        test: Length of the newest period, which no fitting ever sees.
    """

    validation: timedelta
    test: timedelta


class PairedBootstrap(Declaration):
    """The challenger must beat the champion on the same test rows, beyond chance.

    Whole entities are resampled, since rows of one entity are not independent.
    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13.

    Args:
        alpha: One-sided level of the test.
        resamples: How many bootstrap samples are drawn.
        margin: The least gain that matters, in units of the primary metric.
    """

    alpha: Share = 0.05
    resamples: Annotated[int, Field(ge=200)] = 1000
    margin: Annotated[float, Field(ge=0.0)] = 0.0


class Gate(Declaration):
    """What a candidate must show on the untouched test period before it is released.

    Args:
        primary: The metric that decides.
        better_than_champion: How the comparison with the current champion is made.
        at_least: The primary metric's worst acceptable value (for losses: at most), or nothing.
        slices: Feature columns; in none of their values may a constant guess be better, beyond chance.
        slice_min_rows: Slices with fewer test rows are reported, not judged.
        calibration_error_max: Highest acceptable expected calibration error, for binary labels.
    """

    primary: Metric
    better_than_champion: PairedBootstrap = PairedBootstrap()
    at_least: float | None = None
    slices: tuple[Name, ...] = ()
    slice_min_rows: Annotated[int, Field(gt=0)] = 100
    calibration_error_max: Share | None = None


# Hours that follow each other, UTC: what was known at the night's close, scored, and then watched.
SCORED = {"daily": "0 5 * * *", "weekly": "0 5 * * 1", "monthly": "0 5 1 * *"}
MONITORED = "0 6 * * *"


class Serving(Declaration):
    """How predictions leave: in batches on a schedule, over HTTP, or both."""

    batch: Literal["daily", "weekly", "monthly"] | None = "daily"
    http: bool = False

    @property
    def cron(self) -> str | None:
        """When batches are scored, UTC, besides whenever there is a new champion."""
        return None if self.batch is None else SCORED[self.batch]


class Drift(Declaration):
    """When inputs or scores have moved too far from the reference stored with the model.

    Args:
        psi: Population stability index from which a column counts as drifted.
        columns_share: Share of drifted columns that is a breach; a drifted score always is.
        performance_drop: Relative loss of the primary metric on matured labels that is a breach.
    """

    psi: Annotated[float, Field(gt=0.0)] = 0.2
    columns_share: Share = 0.3
    performance_drop: Share = 0.2


class Retrain(Declaration):
    """When a new candidate is trained: after a time, on a breach, or both."""

    every: timedelta | None = None
    on_drift: bool = True


class ModelProduct(Declaration):
    """One use case from label to retraining; with its SQL and its expectations, all there is to write.

    Args:
        name: Registered model's name; also names its DAGs and lake folders.
        owner: Address that is told when it breaks.
        tier: `1` pages, `2` mails, `3` is looked at.
        source: Source whose feature build the product follows.
        entity: Key columns of a prediction.
        label: Where the truth is.
        features: Feature tables, joined point-in-time on the entity columns that each has.
        exclude: Columns of those tables that the model must not see.
    """

    name: Name
    owner: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
    tier: Literal["1", "2", "3"]
    description: Annotated[str, Field(min_length=20)]
    source: Name
    entity: Annotated[tuple[Name, ...], Field(min_length=1)]
    label: Label
    features: Annotated[tuple[Name, ...], Field(min_length=1)]
    exclude: tuple[Name, ...] = ()
    train: TrainConfig
    split: Split
    gate: Gate
    serve: Serving = Serving()
    drift: Drift = Drift()
    retrain: Retrain = Retrain()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        accepted = METRICS_OF[self.train.objective]
        if self.gate.primary not in accepted:
            raise ValueError(
                f"gate.primary: {self.gate.primary!r} does not fit objective {self.train.objective!r}; "
                f"accepted: {', '.join(accepted)}"
            )
        if len(set(self.features)) != len(self.features):
            raise ValueError("features: a table is named twice")
        if self.label.table in self.features:
            raise ValueError("features: the label's own table would leak the label")
        return self
