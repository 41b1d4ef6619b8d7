"""Each rule of the gate refuses by itself, and says what it saw."""

import numpy as np
import pyarrow as pa
import pytest

from include.evaluation.bootstrap import Comparison
from include.evaluation.evaluate import evaluate
from include.evaluation.gate import gate_hash, judge_candidate
from include.spec.product import Gate

GATE = Gate(
    primary="average_precision", at_least=0.3, slices=("kind",), slice_min_rows=50, calibration_error_max=0.1
)


@pytest.fixture
def rows():
    random = np.random.default_rng(11)
    scores = random.beta(1, 4, size=2000)
    truth = (random.uniform(size=2000) < scores).astype(float)
    table = pa.table({"kind": random.choice(["A", "B"], size=2000)})
    return table, truth, scores


def judged(rows, *, gate=GATE, scores=None, comparison=None):
    table, truth, honest = rows
    evaluation = evaluate(
        gate, "binary", table, truth, honest if scores is None else scores, np.arange(len(truth))
    )
    return judge_candidate("coupon_redemption", gate, evaluation, comparison)


def test_an_honest_model_passes_every_rule(rows):
    verdict = judged(rows)
    assert verdict.checked == 5
    assert verdict.passed
    assert verdict.findings == ()


def test_a_model_that_guesses_is_refused(rows):
    verdict = judged(rows, scores=np.random.default_rng(1).uniform(size=2000))
    assert not verdict.passed
    assert "constant guess" in verdict.findings[0].rule


def test_a_champion_that_is_not_beaten_stays(rows):
    even = Comparison("average_precision", 0.001, -0.01, 0.4, 2000, 2000, better=False)
    verdict = judged(rows, comparison=even)
    assert [finding.rule for finding in verdict.findings] == ["average_precision better than the champion's"]
    assert "p = 0.4000" in verdict.findings[0].observed


def test_a_shifted_model_is_refused_for_its_calibration_alone(rows):
    verdict = judged(rows, scores=np.clip(rows[2] + 0.3, 0, 1))
    assert [finding.rule for finding in verdict.findings] == ["calibration error at most 0.1"]


def test_a_model_that_fails_one_slice_is_refused(rows):
    table, _, scores = rows
    backwards = np.where(np.array(table["kind"]) == "B", 1 - scores, scores)
    gate = GATE.model_copy(update={"calibration_error_max": None, "at_least": None})
    verdict = judged(rows, scores=backwards, gate=gate)
    assert any(finding.rule.endswith("kind = B") for finding in verdict.findings)
    assert not any(finding.rule.endswith("kind = A") for finding in verdict.findings)


def test_a_slice_with_a_handful_of_outcomes_is_not_refused_by_chance(rows):
    _, truth, scores = rows
    table = pa.table({"kind": ["B"] * 500 + ["A"] * 1500})
    few = truth.copy()
    few[:500] = 0
    few[np.argsort(scores[:500])[[40, 150, 250, 300]]] = 1  # four outcomes, most of them ranked low
    gate = GATE.model_copy(update={"calibration_error_max": None, "at_least": None})
    verdict = judged((table, few, scores), gate=gate)
    part = next(
        part
        for part in evaluate(gate, "binary", table, few, scores, np.arange(2000)).slices
        if part.value == "B"
    )
    assert part.metric < part.no_skill
    assert part.p_value is not None
    assert part.p_value > 0.05
    assert verdict.passed


def test_the_hash_names_the_rules():
    assert gate_hash(GATE) == gate_hash(GATE.model_copy())
    assert gate_hash(GATE) != gate_hash(GATE.model_copy(update={"at_least": 0.31}))


def test_rows_without_a_value_are_a_slice_of_their_own(rows):
    _, truth, scores = rows
    kinds = pa.table({"kind": ["A" if i % 4 else None for i in range(len(truth))]})
    found = evaluate(GATE, "binary", kinds, truth, scores, np.arange(len(truth))).slices
    assert {part.value: part.rows for part in found} == {"A": 1500, "None": 500}
