"""A bundle is admitted files only, and loads only as the bytes that were registered."""

import math

import numpy as np
import pyarrow as pa
import pytest

from include.registry.bundle import GRAPH, SCHEMA, TREES, digest, load
from include.registry.errors import DigestMismatch, RefusedFormat, UnfitInput
from include.registry.schema import InputSchema, fit_schema
from include.spec.training import GradientBoosting
from include.training.fit import fit_candidate


def training_set(rows=400, seed=5):
    random = np.random.default_rng(seed)
    spend = random.gamma(2, 20, size=rows)
    kind = random.choice(np.array(["A", "B", None], dtype=object), size=rows)
    redeemed = random.uniform(size=rows) < 0.1 + 0.6 * (spend > 40) * (kind == "A")
    return pa.table(
        {
            "spend": pa.array(np.where(random.uniform(size=rows) < 0.1, np.nan, spend)),
            "visits": pa.array(random.integers(0, 9, size=rows)),
            "kind": pa.array(kind.tolist(), type=pa.string()),
            "redeemed": pa.array(redeemed),
            "split": pa.array(np.where(np.arange(rows) % 4 == 3, "validation", "train").tolist()),
        }
    )


@pytest.fixture(scope="module")
def candidate(tmp_path_factory):
    return fit_candidate(
        GradientBoosting(rounds=20),
        training_set(),
        label="redeemed",
        features=("spend", "visits", "kind"),
        folder=tmp_path_factory.mktemp("bundle"),
    )


def test_a_loaded_bundle_scores_whatever_order_and_extra_columns_the_rows_have(candidate):
    model = load(candidate.folder, expected_digest=candidate.digest)
    rows = training_set(seed=6)
    scores = model.predict(rows)
    assert scores.shape == (400,)
    assert np.array_equal(scores, model.predict(rows.select(rows.column_names[::-1])))


def test_a_changed_byte_is_not_loaded(candidate, tmp_path):
    for name in ("model.ubj", "schema.json", "reference.json", "training.json"):
        (tmp_path / name).write_bytes((candidate.folder / name).read_bytes())
    tree = bytearray((tmp_path / TREES).read_bytes())
    tree[-3] ^= 1
    (tmp_path / TREES).write_bytes(tree)
    with pytest.raises(DigestMismatch, match="not those that were registered"):
        load(tmp_path, expected_digest=candidate.digest)


@pytest.mark.parametrize("stranger", ["model.pkl", "code/model.py", GRAPH])
def test_a_folder_with_anything_else_in_it_is_refused(candidate, tmp_path, stranger):
    for name in (TREES, SCHEMA):
        (tmp_path / name).write_bytes((candidate.folder / name).read_bytes())
    assert digest(tmp_path)
    (tmp_path / stranger).parent.mkdir(exist_ok=True)
    (tmp_path / stranger).write_bytes(b"cos\nsystem\n")
    with pytest.raises(RefusedFormat, match="Admitted"):
        digest(tmp_path)


def test_encoding_is_of_the_training_rows_and_survives_the_document():
    schema = fit_schema(training_set(), ("kind", "spend", "visits"))
    assert [c.name for c in schema.columns] == ["spend", "visits", "kind"]
    assert schema.category_columns[0].categories == ("A", "B")
    assert InputSchema.from_json(schema.to_json()) == schema
    unseen = pa.table({"spend": [1.0, math.inf], "visits": [1, 2], "kind": ["Z", "A"]})
    assert schema.codes(unseen)[:, 0].tolist() == [0, 1]
    assert np.isnan(schema.numbers(unseen)[1, 0])


def test_rows_that_do_not_fit_are_refused_by_column():
    schema = fit_schema(training_set(), ("spend", "kind"))
    with pytest.raises(UnfitInput, match="'spend' is missing"):
        schema.numbers(pa.table({"kind": ["A"]}))
    with pytest.raises(UnfitInput, match="'spend' has type string"):
        schema.numbers(pa.table({"spend": ["much"]}))
    with pytest.raises(UnfitInput, match="trained on strings"):
        schema.codes(pa.table({"kind": [1]}))
