"""The comparison keeps its level when rows come in entities, and finds a model that is really better."""

import numpy as np
import pytest

from include.evaluation.bootstrap import compare, entity_index, interval
from include.spec.product import PairedBootstrap

RULE = PairedBootstrap(alpha=0.1, resamples=200)


def clustered(random, entities=60, each=8):
    """Rows whose truth and whose models' errors are shared within an entity."""
    index = np.repeat(np.arange(entities), each)
    base = random.normal(size=entities)[index]
    truth = (base + random.normal(size=len(index)) > 0).astype(float)
    errors = [random.normal(size=entities)[index] for _ in range(2)]
    return index, truth, base, errors


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_two_equally_good_models_are_told_apart_about_as_often_as_the_level_says():
    wins = 0
    for seed in range(150):
        index, truth, base, (one, other) = clustered(np.random.default_rng(seed))
        result = compare(RULE, "roc_auc", truth, sigmoid(base + one), sigmoid(base + other), index, seed=seed)
        wins += result.better
    # Binomial(150, 0.1): 30 or more would come up less than once in 10,000 tries.
    assert wins < 30


def test_resampling_rows_instead_of_entities_would_break_the_level():
    wins = 0
    for seed in range(150):
        index, truth, base, (one, other) = clustered(np.random.default_rng(seed))
        rows = np.arange(len(index))
        result = compare(RULE, "roc_auc", truth, sigmoid(base + one), sigmoid(base + other), rows, seed=seed)
        wins += result.better
    assert wins >= 30


def test_a_better_model_is_found_and_the_order_matters():
    index, truth, base, (one, other) = clustered(np.random.default_rng(1), entities=300)
    good, bad = sigmoid(base + 0.1 * one), sigmoid(base + 3 * other)
    assert compare(RULE, "average_precision", truth, good, bad, index).better
    assert not compare(RULE, "average_precision", truth, bad, good, index).better
    assert compare(RULE, "log_loss", truth, good, bad, index).gain > 0


def test_a_model_is_never_better_than_itself():
    index, truth, base, _ = clustered(np.random.default_rng(1))
    same = compare(RULE, "brier", truth, sigmoid(base), sigmoid(base), index)
    assert same.gain == 0
    assert same.p_value == 1
    assert not same.better


def test_interval_holds_the_value_and_narrows_with_more_entities():
    small, large = (clustered(np.random.default_rng(5), entities=n) for n in (40, 640))
    widths = []
    for index, truth, base, _ in (small, large):
        found = interval("roc_auc", truth, sigmoid(base), index, resamples=200)
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2


def test_entities_are_numbered_from_zero_whatever_their_keys():
    assert entity_index(np.array(["b", "a", "b", "c"])).tolist() == [1, 0, 1, 2]


@pytest.mark.parametrize("field", ["alpha", "resamples"])
def test_a_rule_that_cannot_decide_is_refused(field):
    with pytest.raises(ValueError, match=field):
        PairedBootstrap(**{field: 0})
