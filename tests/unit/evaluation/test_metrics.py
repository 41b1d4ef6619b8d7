"""Our weighted metrics against scikit-learn's, on any truth, scores and weights."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from include.evaluation.metrics import METRIC, calibration_error, curves, no_skill

ROWS = st.integers(2, 60)


@pytest.fixture(scope="module")
def peer():
    """Not with this module: every process that reads the tests would import it."""
    from sklearn import metrics

    return metrics


@st.composite
def samples(draw):
    rows = draw(ROWS)
    truth = draw(arrays(np.float64, rows, elements=st.sampled_from([0.0, 1.0])))
    # Few distinct scores, so that ties are common.
    scores = draw(arrays(np.float64, rows, elements=st.sampled_from([0.05, 0.1, 0.2, 0.5, 0.8, 0.99])))
    weights = draw(arrays(np.float64, rows, elements=st.integers(0, 4).map(float)))
    assume((weights * truth).sum() > 0 and (weights * (1 - truth)).sum() > 0)
    return truth, scores, weights


@given(samples())
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("average_precision", "average_precision_score"),
        ("roc_auc", "roc_auc_score"),
        ("log_loss", "log_loss"),
        ("brier", "brier_score_loss"),
    ],
)
def test_binary_metric_equals_scikit_learn(peer, name, theirs, sample):
    truth, scores, weights = sample
    expected = getattr(peer, theirs)(truth, scores, sample_weight=weights)
    assert METRIC[name](truth, scores, weights) == pytest.approx(expected, abs=1e-9)


@given(samples())
def test_regression_metrics_equal_scikit_learn(peer, sample):
    truth, scores, weights = sample
    squared = peer.mean_squared_error(truth, scores, sample_weight=weights)
    assert METRIC["rmse"](truth, scores, weights) == pytest.approx(squared**0.5)
    absolute = peer.mean_absolute_error(truth, scores, sample_weight=weights)
    assert METRIC["mae"](truth, scores, weights) == pytest.approx(absolute)


@given(samples())
def test_a_weight_counts_as_that_many_copies_of_the_row(sample):
    truth, scores, weights = sample
    times = weights.astype(int)
    copied = np.repeat(truth, times), np.repeat(scores, times), np.ones(times.sum())
    for of in METRIC.values():
        assert of(truth, scores, weights) == pytest.approx(of(*copied), abs=1e-9)


def test_no_skill_of_average_precision_is_the_base_rate():
    truth = np.array([1.0, 0.0, 0.0, 0.0])
    assert no_skill("average_precision", truth) == pytest.approx(0.25)
    assert no_skill("roc_auc", truth) == pytest.approx(0.5)


def test_curves_run_from_nothing_to_everything_and_calibration_sees_a_shift():
    random = np.random.default_rng(3)
    scores = random.uniform(size=4000)
    truth = (random.uniform(size=4000) < scores).astype(float)
    honest = curves(truth, scores)
    assert honest.recall[-1] == honest.true_positive_rate[-1] == honest.false_positive_rate[-1] == 1.0
    assert sum(honest.counts) == 4000
    assert calibration_error(honest) < 0.05
    assert calibration_error(curves(truth, np.clip(scores + 0.3, 0, 1))) > 0.15
