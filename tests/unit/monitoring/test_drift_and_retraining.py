"""Drift is measured against the model's own reference; retraining follows from facts by rules."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.monitoring.drift import measure_drift, psi
from include.monitoring.retraining import Facts, decide_retraining
from include.registry.reference import SCORE, Reference, make_reference
from include.registry.schema import fit_schema
from include.spec.product import Drift, Retrain

RULE = Drift(psi=0.2, columns_share=0.5)


class Model:
    """A predictor whose score is its first number."""

    def __init__(self, rows):
        self.schema = fit_schema(rows, ("spend", "kind"))
        # Through its document, as a bundle does.
        fitted = make_reference(self.schema, rows, self.predict(rows))
        self.reference = Reference.from_json(fitted.to_json())

    def predict(self, rows):
        return rows["spend"].to_numpy().astype(np.float64)


def batch(shift=0.0, kinds="AAB", rows=5000, seed=2):
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "spend": random.normal(50 + shift, 10, size=rows),
            "kind": random.choice(list(kinds), size=rows).tolist(),
        }
    )


@pytest.fixture(scope="module")
def model():
    return Model(batch(seed=1))


def measured(model, rows):
    return measure_drift(RULE, model, rows, model.predict(rows))


def test_the_same_population_has_not_drifted(model):
    report = measured(model, batch())
    assert {column.column for column in report.columns} == {"spend", "kind", SCORE}
    assert not report.breach
    assert report.share_drifted == 0


def test_a_shift_and_an_unseen_category_are_found_by_column(model):
    report = measured(model, batch(shift=10))
    assert report.breach
    assert {c.column for c in report.columns if c.drifted} == {"spend", SCORE}
    unseen = {c.column: c for c in measured(model, batch(kinds="AZ")).columns}
    assert unseen["kind"].drifted
    assert unseen["kind"].current[-1] == pytest.approx(0.5, abs=0.05)


def test_values_that_went_missing_are_drift(model):
    rows = batch()
    gone = pa.array(
        np.where(np.arange(5000) % 2, None, rows["spend"].to_numpy()), from_pandas=True, type=pa.float64()
    )
    report = measure_drift(RULE, model, rows.set_column(0, "spend", gone), model.predict(rows))
    assert next(c for c in report.columns if c.column == "spend").drifted


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=12), st.randoms())
def test_psi_is_zero_only_for_the_same_shares_and_symmetric(weights, random):
    then = np.array(weights) / sum(weights)
    other = list(weights)
    random.shuffle(other)
    now = np.array(other) / sum(other)
    assert psi(then, then) == 0
    assert psi(then, now) == pytest.approx(psi(now, then))
    assert psi(then, now) >= 0


CALM = Facts(datetime(2017, 12, 1), datetime(2017, 11, 1), False, 0.5, 0.49, True)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (CALM, None),
        (replace(CALM, as_of=datetime(2018, 2, 1)), "92 days old"),
        (replace(CALM, drift_breach=True), "drifted"),
        (replace(CALM, performance_now=0.3), "lost 40%"),
        (replace(CALM, performance_at_release=0.3, performance_now=0.5, higher_is_better=False), "lost 67%"),
        (replace(CALM, performance_now=0.9), None),
        (replace(CALM, performance_now=None), None),
    ],
)
def test_each_fact_by_itself_decides(facts, reason):
    decision = decide_retraining(Retrain(every=timedelta(days=60)), Drift(performance_drop=0.2), facts)
    assert decision.retrain == (reason is not None)
    if reason is not None:
        assert len(decision.reasons) == 1
        assert reason in decision.reasons[0]


def test_a_product_that_retrains_by_the_clock_alone_ignores_drift():
    facts = replace(CALM, drift_breach=True, performance_now=0.1)
    assert not decide_retraining(Retrain(every=None, on_drift=False), Drift(), facts).retrain


def test_nothing_is_trained_again_as_of_the_moment_it_was_trained_as_of():
    facts = replace(CALM, as_of=CALM.trained_as_of, drift_breach=True, performance_now=0.1)
    rule = Retrain(every=timedelta(days=1))
    assert not decide_retraining(rule, Drift(performance_drop=0.2), facts).retrain
    a_day_later = replace(facts, as_of=CALM.trained_as_of + timedelta(days=1))
    assert len(decide_retraining(rule, Drift(performance_drop=0.2), a_day_later).reasons) == 3
