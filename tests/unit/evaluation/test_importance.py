"""An input's importance is what the metric loses without it, the same each time, at a bounded cost."""

import numpy as np
import pyarrow as pa
import pytest

from include.evaluation.importance import BATCH_TABLES, REPEATS, ROWS, permutation_importance


def predict(rows: pa.Table) -> np.ndarray:
    strong, weak = (rows[name].to_numpy() for name in ("strong", "weak"))
    scores: np.ndarray = 1 / (1 + np.exp(-(2.0 * strong + 0.5 * weak)))
    return scores


@pytest.fixture
def sample():
    random = np.random.default_rng(3)
    rows = pa.table({name: random.normal(size=1200) for name in ("unused", "weak", "strong")})
    rows = rows.append_column("kind", pa.array(random.choice(["A", "B"], 1200).tolist()))
    return rows, (random.uniform(size=1200) < predict(rows)).astype(float)


COLUMNS = ("kind", "unused", "weak", "strong")


def importance(sample, metric, *, columns=COLUMNS, seed=17):
    rows, truth = sample
    return permutation_importance(predict, columns, rows, truth, metric, seed=seed)


@pytest.mark.parametrize("metric", ["average_precision", "log_loss"])
def test_inputs_are_ordered_by_what_they_are_worth_whatever_the_metrics_direction(sample, metric):
    found = importance(sample, metric)
    assert [one.column for one in found] == ["strong", "weak", "kind", "unused"]
    assert found[0].loss > 3 * found[1].loss > 0
    assert all(one.low <= one.loss <= one.high for one in found)
    assert found[2].loss == found[3].loss == 0.0, "the model never looks at them"


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(sample):
    once = importance(sample, "roc_auc", seed=1)
    assert once == importance(sample, "roc_auc", seed=1)
    assert once != importance(sample, "roc_auc", seed=2)


def test_many_rows_cost_no_more_than_a_sample_of_them(sample):
    asked = []

    def counting(rows: pa.Table) -> np.ndarray:
        asked.append(rows.num_rows)
        return predict(rows)

    rows, truth = (pa.concat_tables([sample[0]] * 4), np.tile(sample[1], 4))
    permutation_importance(counting, COLUMNS, rows, truth, "roc_auc")
    assert sum(asked) == (1 + len(COLUMNS) * REPEATS) * ROWS
    assert max(asked) <= BATCH_TABLES * ROWS


def test_a_column_of_the_rows_that_is_no_input_is_not_asked_for(sample):
    found = importance(sample, "roc_auc", columns=("weak", "strong"))
    assert {one.column for one in found} == {"weak", "strong"}
