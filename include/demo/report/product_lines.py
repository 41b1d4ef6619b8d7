"""What the demo's report says of one product: its versions and candidates, predictions and monitoring."""

from dataclasses import dataclass, fields
from typing import Any

from include.spec.verdict import Finding


@dataclass(frozen=True)
class MetricLine:
    """A metric with its interval; `no_skill` is what a constant guess reaches, where that is known."""

    name: str
    value: float
    low: float
    high: float
    level: float
    no_skill: float | None = None


@dataclass(frozen=True)
class ImportanceLine:
    """What the primary metric loses when a column's values are shuffled: on average, least and most."""

    column: str
    loss: float
    low: float
    high: float


@dataclass(frozen=True)
class SliceLine:
    """The primary metric where one column has one value; `p_value` is of a constant guess being no better."""

    column: str
    value: str
    rows: int
    metric: float
    no_skill: float
    p_value: float | None = None


@dataclass(frozen=True)
class CurvesLine:
    """Points to plot: [P] of ROC and precision-recall, [K] of calibration with rows per bin."""

    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class EvaluationLine:
    """What a candidate is worth on its untouched test period.

    Args:
        rows: Of the test period.
        base_rate: Mean of the label there.
        metrics: The primary first.
        calibration_error: None for numbers.
        curves: None for numbers.
        slices: By column, largest first.
        importance: Most worth first; empty where it was not measured.
    """

    rows: int
    base_rate: float
    metrics: tuple[MetricLine, ...]
    calibration_error: float | None
    curves: CurvesLine | None
    slices: tuple[SliceLine, ...]
    importance: tuple[ImportanceLine, ...]


@dataclass(frozen=True)
class ComparisonLine:
    """The candidate against the champion on the same rows.

    Args:
        champion_version: Whom it had to beat.
        metric: What was compared.
        gain: Its advantage, positive is better.
        low: Lower bound of the gain at the gate's level, one-sided.
        high: Upper bound; None in documents that do not have it.
        p_value: Of no gain.
        rows: Compared.
        entities: Resampled.
    """

    champion_version: str
    metric: str
    gain: float
    low: float
    high: float | None
    p_value: float
    rows: int
    entities: int


@dataclass(frozen=True)
class CandidateLine:
    """One fitted model and what the gate said of it.

    Args:
        run_id: The registry's run.
        made_by: The run of the DAG, as `dag/run`.
        version: That it became; empty where it was not released.
        as_of: Moment whose knowledge it was trained on, ISO 8601.
        url: Where MLflow shows the run.
        training_set_id: What it was fitted on.
        rows: Rows and mean label of each split.
        passed: The gate's verdict.
        checked: Rules that were evaluated.
        findings: Rules that did not hold.
        evaluation: On its test period.
        comparison: With the champion of its time, where there was one.
    """

    run_id: str
    made_by: str
    version: str
    as_of: str
    url: str
    training_set_id: str
    rows: tuple[tuple[str, int, float], ...]
    passed: bool
    checked: int
    findings: tuple[Finding, ...]
    evaluation: EvaluationLine
    comparison: ComparisonLine | None


@dataclass(frozen=True)
class VersionLine:
    """One registered version and its signed manifest.

    Args:
        version: As the registry counts.
        run_id: The registry's run that made it.
        champion: Whether it serves.
        digest: Of its bytes.
        url: Where MLflow shows it.
        manifest: Path of the manifest in the lake; empty where it has none.
        signed: Whether the manifest's signature holds.
        signer: Who signed.
        tags: The origins that the manifest names: name and commit or hash.
    """

    version: str
    run_id: str
    champion: bool
    digest: str
    url: str
    manifest: str
    signed: bool
    signer: str
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PredictionLine:
    """One published batch: as of when, how many, by which version, in which commit."""

    as_of: str
    rows: int
    version: str
    commit: str


@dataclass(frozen=True)
class DriftLine:
    """One column now against then: population stability index, and the shares of its bins."""

    column: str
    psi: float
    drifted: bool
    reference: tuple[float, ...]
    current: tuple[float, ...]


@dataclass(frozen=True)
class MonitoringLine:
    """What one monitoring run found of the champion.

    Args:
        as_of: The moment, ISO 8601.
        version: The champion of that moment.
        rows: Of the batch whose drift was measured.
        columns: Inputs and score, most moved first.
        share_drifted: Share of the inputs that reached the bound.
        breach: Whether drift crossed the product's bounds.
        matured_rows: Predictions whose truth was known.
        performance: The primary metric on them; None where there were too few.
        at_release: The primary metric that the version was released with.
        retrain: Whether a retraining was requested.
        reasons: Why.
        commit: Of main, that holds the findings.
    """

    as_of: str
    version: str
    rows: int
    columns: tuple[DriftLine, ...]
    share_drifted: float
    breach: bool
    matured_rows: int
    performance: MetricLine | None
    at_release: float | None
    retrain: bool
    reasons: tuple[str, ...]
    commit: str


@dataclass(frozen=True)
class ProductLine:
    """One product.

    Args:
        name: As declared.
        description: As declared.
        owner: Who answers for it.
        model: Kind of model that is trained.
        primary: The metric that decides.
        drift_bound: Population stability index from which a column counts as drifted.
        versions: Newest first.
        candidates: Oldest first.
        predictions: Oldest first.
        monitoring: Oldest first.
    """

    name: str
    description: str
    owner: str
    model: str
    primary: str
    drift_bound: float
    versions: tuple[VersionLine, ...]
    candidates: tuple[CandidateLine, ...]
    predictions: tuple[PredictionLine, ...]
    monitoring: tuple[MonitoringLine, ...]

    @property
    def champion(self) -> VersionLine | None:
        """The version that serves."""
        return next((version for version in self.versions if version.champion), None)

    @property
    def shown(self) -> CandidateLine | None:
        """The candidate to look at: the one that became the champion, else the newest."""
        champion = self.champion
        made = [one for one in self.candidates if champion is not None and one.run_id == champion.run_id]
        return next(iter(made or self.candidates[::-1]), None)

    @property
    def challengers(self) -> tuple[CandidateLine, ...]:
        """The candidates that met a champion, oldest first."""
        return tuple(one for one in self.candidates if one.comparison is not None)


def evaluation_line(document: dict[str, Any], primary: str) -> EvaluationLine:
    """Reads the evaluation that is kept with a model, by an earlier or a later version of the code."""
    curves = document.get("curves")
    names = sorted(document["metrics"], key=lambda name: (name != primary, name))
    return EvaluationLine(
        rows=document["rows"],
        base_rate=document["base_rate"],
        metrics=tuple(
            metric_line(name, document["metrics"][name], document["no_skill"] if name == primary else None)
            for name in names
        ),
        calibration_error=document.get("calibration_error"),
        curves=None if curves is None else CurvesLine(*(tuple(curves[name]) for name in _names(CurvesLine))),
        slices=tuple(SliceLine(*map(part.get, _names(SliceLine))) for part in document.get("slices", ())),
        importance=tuple(
            ImportanceLine(*map(one.get, _names(ImportanceLine))) for one in document.get("importance", ())
        ),
    )


def metric_line(name: str, interval: dict[str, Any], no_skill: float | None) -> MetricLine:
    """A metric from its interval as it is kept."""
    value, low, high, level = (float(interval[key]) for key in ("value", "low", "high", "level"))
    return MetricLine(name, value, low, high, level, no_skill)


def _names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]
