"""The gate: what a candidate must show before it is released. A refusal is a result, not an error."""

import hashlib
import json

from include.evaluation.bootstrap import Comparison
from include.evaluation.evaluate import Evaluation
from include.evaluation.metrics import HIGHER_IS_BETTER
from include.spec.product import Gate
from include.spec.verdict import Finding, Verdict


def judge_candidate(
    product: str, gate: Gate, evaluation: Evaluation, comparison: Comparison | None
) -> Verdict:
    """Holds the evaluation against every rule of the gate.

    Args:
        product: Name of the product, for the findings.
        gate: The rules.
        evaluation: The candidate on the untouched test period.
        comparison: Against the champion on the same rows; None where there is no champion yet, and then the
            candidate must beat a constant guess with the bound of its interval.
    """
    table = f"registry/{product}"
    findings: list[Finding] = []
    checked = 0

    def rule(name: str, holds: bool, observed: str, *, fatal: bool = True) -> None:
        nonlocal checked
        checked += 1
        if not holds:
            findings.append(Finding(table, name, observed, "fail" if fatal else "warn"))

    primary = evaluation.metrics[gate.primary]
    if comparison is None:
        bound = primary.low if HIGHER_IS_BETTER[gate.primary] else primary.high
        rule(
            f"{gate.primary} beats a constant guess",
            _better(gate, bound, evaluation.no_skill),
            f"bound {bound:.4f}, constant guess {evaluation.no_skill:.4f}",
        )
    else:
        rule(
            f"{gate.primary} better than the champion's",
            comparison.better,
            f"gain {comparison.gain:+.4f}, lower bound {comparison.low:+.4f}, p = {comparison.p_value:.4f} "
            f"over {comparison.rows} rows of {comparison.entities} entities",
        )
    if gate.at_least is not None:
        rule(
            f"{gate.primary} at least {gate.at_least}",
            primary.value == gate.at_least or _better(gate, primary.value, gate.at_least),
            f"{primary.value:.4f}",
        )
    if gate.calibration_error_max is not None and evaluation.calibration_error is not None:
        rule(
            f"calibration error at most {gate.calibration_error_max}",
            evaluation.calibration_error <= gate.calibration_error_max,
            f"{evaluation.calibration_error:.4f}",
        )
    for part in evaluation.slices:
        rule(
            f"no worse than a constant guess where {part.column} = {part.value}",
            part.p_value is None or part.p_value > gate.better_than_champion.alpha,
            f"{part.metric:.4f}, constant guess {part.no_skill:.4f}, p = {part.p_value}, {part.rows} rows",
        )
    passed = not any(finding.severity == "fail" for finding in findings)
    return Verdict(passed, gate_hash(gate), checked, tuple(findings))


def gate_hash(gate: Gate) -> str:
    """SHA-256 over the rules, in canonical form."""
    return hashlib.sha256(json.dumps(gate.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def _better(gate: Gate, value: float, than: float) -> bool:
    return value > than if HIGHER_IS_BETTER[gate.primary] else value < than
