"""The plots of one product, drawn from what its evaluation and its monitoring hold."""

import math
from dataclasses import dataclass

from markupsafe import Markup

from include.demo.report import words
from include.demo.report.plots import Series, line_plot, nice, share_plot
from include.demo.report.product_lines import DriftLine, EvaluationLine, ImportanceLine, MonitoringLine

SHOWN_INPUTS = 14
LEAST_PSI = 0.01
SCORE = "score"


@dataclass(frozen=True)
class Plot:
    """A plot, and what it says."""

    title: str
    text: str
    svg: Markup


@dataclass(frozen=True)
class Bar:
    """One bar of a list, 0 to 100 wide; `low` and `high` are the ends of its whisker, if it has one."""

    name: str
    width: float
    told: str
    marked: bool = False
    low: float | None = None
    high: float | None = None


def curves(evaluation: EvaluationLine) -> list[Plot]:
    """ROC, precision-recall and calibration; none where the label is a number."""
    points = evaluation.curves
    if points is None:
        return []
    found = {line.name: words.measured(line.value) for line in evaluation.metrics}
    roc = ((0.0, 0.0), *zip(points.false_positive_rate, points.true_positive_rate, strict=True))
    found_any = ((x, y) for x, y in zip(points.recall, points.precision, strict=True) if x > 0)
    recalled = tuple(found_any)
    base = evaluation.base_rate
    guess = Series("guide", ((0.0, 0.0), (1.0, 1.0)), "a constant guess")
    level = Series("guide", ((0.0, base), (1.0, base)), f"base rate {base:.3f}")
    calibrated = tuple(zip(points.predicted, points.observed, strict=True))
    end = min(1.0, nice(max([*points.predicted, *points.observed, 0.05])))
    even = Series("guide", ((0.0, 0.0), (end, end)), "as often as said")
    return [
        Plot(
            "ROC",
            f"Area {found.get('roc_auc', '')}; the dashed line is a guess.",
            line_plot(
                "ROC curve", ("false positive rate", "true positive rate"), [guess, Series("main", roc)]
            ),
        ),
        Plot(
            "Precision and recall",
            f"Average precision {found.get('average_precision', '')}; the base rate is {base:.3f}.",
            line_plot("Precision-recall curve", ("recall", "precision"), [level, Series("main", recalled)]),
        ),
        Plot(
            "Calibration",
            f"Expected calibration error {evaluation.calibration_error or 0.0:.3f}; bins of equal size.",
            line_plot(
                "Calibration curve",
                ("predicted", "observed"),
                [even, Series("dots", calibrated)],
                top=end,
                right=end,
            ),
        ),
    ]


def importance(lines: tuple[ImportanceLine, ...]) -> list[Bar]:
    """The inputs that are worth most, against the one that is worth most of all."""
    shown = [line for line in lines if line.loss > 0][:SHOWN_INPUTS]
    most = max((line.high for line in shown), default=0.0) or 1.0
    return [
        Bar(
            line.column,
            100 * line.loss / most,
            f"{line.loss:.4f}",
            low=100 * max(line.low, 0.0) / most,
            high=100 * line.high / most,
        )
        for line in shown
    ]


def drift(line: MonitoringLine) -> list[Bar]:
    """The columns that moved most, and the score, on a logarithmic scale."""
    shown = list(line.columns[:SHOWN_INPUTS])
    shown += [column for column in line.columns[SHOWN_INPUTS:] if column.column == SCORE]
    most = max((column.psi for column in shown), default=1.0)
    return [
        Bar(column.column, _on_log_scale(column.psi, most), f"{column.psi:.2f}", column.drifted)
        for column in shown
    ]


def bound(line: MonitoringLine, psi: float) -> float:
    """Where the product's bound lies on the scale of `drift`, in percent."""
    return _on_log_scale(psi, max((column.psi for column in line.columns), default=1.0))


def scores(line: MonitoringLine) -> Plot | None:
    """How the scores were spread when the model was made, and how they are now."""
    score: DriftLine | None = next((one for one in line.columns if one.column == SCORE), None)
    if score is None:
        return None
    kept = range(len(score.reference) - 1)
    return Plot(
        "Scores, then and now",
        f"Share of rows in each bin of the score, lowest first; PSI {score.psi:.2f}.",
        share_plot(
            "Shares of scores",
            ("bin of the score", "share of rows"),
            [score.reference[place] for place in kept],
            [score.current[place] for place in kept],
            [f"{place + 1}" for place in kept],
        ),
    )


def _on_log_scale(psi: float, most: float) -> float:
    end = max(most, 1.0)
    return 100 * math.log(max(psi, LEAST_PSI) / LEAST_PSI) / math.log(end / LEAST_PSI)
