"""Fitting sees the training and validation rows only, and the same inputs give the same bytes."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from include.registry.bundle import load
from include.registry.reference import SCORE
from include.registry.schema import fit_schema
from include.spec.training import GradientBoosting, TabularNet
from include.training.data import training_data
from include.training.errors import TrainingError
from include.training.fit import fit_candidate
from include.training.loop import Resident, fit_network
from include.training.models.tabular_net import Network, _graph

TREES = GradientBoosting(rounds=30)
NET = TabularNet(epochs=15, hidden=(16, 8), batch_size=32, learning_rate=0.02)
CONFIGS = [TREES, NET]
FEATURES = ("spend", "visits", "kind")


def training_set(rows=900, seed=5):
    random = np.random.default_rng(seed)
    spend, kind = random.gamma(2, 20, size=rows), random.choice(["A", "B", "C"], size=rows)
    chance = 0.05 + 0.8 * (spend > 40) * (kind != "C")
    return pa.table(
        {
            "spend": np.where(random.uniform(size=rows) < 0.1, np.nan, spend),
            "visits": random.integers(0, 9, size=rows),
            "kind": kind.tolist(),
            "redeemed": random.uniform(size=rows) < chance,
            "split": np.repeat(["train", "validation", "test"], rows // 3).tolist(),
        }
    )


def fitted(config, table, folder):
    return fit_candidate(config, table, label="redeemed", features=FEATURES, folder=folder)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.kind)
def test_the_same_inputs_give_the_same_digest_and_another_seed_another(config, tmp_path):
    table = training_set()
    first, again = (fitted(config, table, tmp_path / name) for name in ("first", "again"))
    other = fitted(config.model_copy(update={"seed": 18}), table, tmp_path / "other")
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.kind)
def test_the_test_rows_change_nothing(config, tmp_path):
    table = training_set()
    scrambled = pa.concat_tables([table.slice(0, 600), table.slice(600).take(np.arange(299, -1, -1))])
    without = table.slice(0, 600)
    digests = {fitted(config, t, tmp_path / str(i)).digest for i, t in enumerate((table, scrambled, without))}
    assert len(digests) == 1


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.kind)
def test_a_candidate_has_learned_and_carries_its_reference(config, tmp_path):
    table = training_set()
    candidate = fitted(config, table, tmp_path / "bundle")
    model = load(candidate.folder, expected_digest=candidate.digest)
    test = table.slice(600)
    truth, scores = test["redeemed"].to_numpy(zero_copy_only=False), model.predict(test)
    assert scores[truth].mean() > scores[~truth].mean() + 0.15
    assert set(model.reference.columns) == {*FEATURES, SCORE}
    assert all(abs(sum(c.shares) - 1) < 1e-9 for c in model.reference.columns.values())
    assert candidate.curve[0].validation_loss > candidate.training["validation_loss"]


def test_the_graph_says_what_the_network_says():
    config = TabularNet(epochs=2, hidden=(16, 8), batch_size=64)
    table = training_set()
    data = training_data(table, "redeemed", FEATURES, "binary")
    network = Network(data.schema, config)
    train, validation = (
        Resident(
            torch.from_numpy(data.schema.numbers(p.rows)),
            torch.from_numpy(data.schema.codes(p.rows)),
            torch.from_numpy(p.label.copy()),
        )
        for p in (data.train, data.validation)
    )
    fit_network(network, train, validation, config, lambda step: None)
    import onnxruntime

    session = onnxruntime.InferenceSession(_graph(network.eval(), data.schema, "binary"))
    numbers, codes = data.schema.numbers(table), data.schema.codes(table)
    (graph,) = session.run(None, {"numbers_NF": numbers, "codes_NC": codes})
    with torch.no_grad():
        torch_says = torch.sigmoid(network(torch.from_numpy(numbers), torch.from_numpy(codes))).numpy()
    assert np.isnan(numbers).any()
    np.testing.assert_allclose(graph, torch_says, atol=1e-6)


@pytest.mark.parametrize("columns", [("spend",), ("kind",)])
def test_a_network_takes_numbers_alone_and_categories_alone(columns, tmp_path):
    candidate = fit_candidate(
        NET, training_set(), label="redeemed", features=columns, folder=tmp_path / "bundle"
    )
    model = load(candidate.folder, expected_digest=candidate.digest)
    assert np.isfinite(model.predict(training_set(seed=9))).all()


def without(table, split):
    return table.filter(pa.compute.not_equal(table["split"], split))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: without(t, "validation"), "validation split has no rows"),
        (lambda t: t.set_column(3, "redeemed", pa.array([True] * len(t))), "one class"),
        (
            lambda t: t.set_column(3, "redeemed", pa.array([None] + [True] * (len(t) - 1))),
            "missing in 1 of 300",
        ),
    ],
)
def test_a_training_set_that_cannot_teach_is_refused(spoil, message):
    with pytest.raises(TrainingError, match=message):
        training_data(spoil(training_set()), "redeemed", FEATURES, "binary")


def test_encoding_is_fitted_on_training_rows_alone():
    table = training_set()
    data = training_data(table, "redeemed", FEATURES, "binary")
    assert data.schema == fit_schema(table.slice(0, 300), FEATURES)
