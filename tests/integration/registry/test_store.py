"""The registry on a real MLflow: each step found done when tried again, and no other bytes loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import numpy as np
import pytest

from include.registry import store as store_module
from include.registry.bundle import TREES
from include.registry.errors import DigestMismatch, RefusedFormat, RegistryError
from include.registry.store import RUN_KEY, Registry
from include.settings import Settings
from include.spec.refs import ModelRef
from include.spec.training import GradientBoosting
from include.training.fit import fit_candidate
from tests.unit.registry.test_bundle import training_set

pytestmark = pytest.mark.integration

BUCKET = "headrace-mlflow"
TASK = "train__lapse/run-1"


@dataclass(frozen=True)
class Fitted:
    """A bundle on disk."""

    folder: Path
    digest: str


@pytest.fixture(scope="module")
def registry(mlflow: str) -> Registry:
    return Registry.connect(Settings(_env_file=None, mlflow_tracking_uri=mlflow))  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> list[Fitted]:
    """Two bundles of other bytes."""
    made = [
        fit_candidate(
            GradientBoosting(rounds=rounds),
            training_set(),
            label="redeemed",
            features=("spend", "visits", "kind"),
            folder=tmp_path_factory.mktemp("bundle"),
        )
        for rounds in (5, 6)
    ]
    assert made[0].digest != made[1].digest
    return [Fitted(one.folder, one.digest) for one in made]


@pytest.fixture
def product() -> str:
    return f"product_{uuid4().hex[:12]}"


def log(registry: Registry, product: str, one: Fitted, run_key: str = TASK) -> Any:
    return registry.log_candidate(
        product,
        run_key,
        one.folder,
        one.digest,
        params={"rounds": 5},
        curve=[(0, {"loss": 0.7}), (1, {"loss": 0.6})],
        tags={"headrace.as_of": "2017-11-01T00:00:00"},
    )


def runs(registry: Registry, product: str) -> list[Any]:
    experiment = registry.client.get_experiment_by_name(product)
    assert experiment is not None
    return list(registry.client.search_runs([experiment.experiment_id]))


def test_a_candidate_is_logged_once_for_a_task_and_in_full(registry, fitted, product):
    assert registry.find_candidate(product, TASK) is None
    first = log(registry, product, fitted[0])
    assert log(registry, product, fitted[0]) == first == registry.find_candidate(product, TASK)
    (run,) = runs(registry, product)
    assert (run.info.run_id, run.data.params, run.data.metrics) == (
        first.run_id,
        {"rounds": "5"},
        {"loss": 0.6},
    )
    assert [point.value for point in registry.client.get_metric_history(first.run_id, "loss")] == [0.7, 0.6]
    assert run.data.tags["headrace.as_of"] == "2017-11-01T00:00:00"
    assert log(registry, product, fitted[0], "train__lapse/run-2").run_id != first.run_id


def test_a_task_that_died_half_way_goes_on_with_its_run(registry, fitted, product, monkeypatch):
    def dies(*_: Any) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store_module.Registry, "_log_bundle", dies)
        with pytest.raises(KeyboardInterrupt):
            log(registry, product, fitted[0])
    (begun,) = runs(registry, product)
    assert begun.data.tags[RUN_KEY] == TASK
    assert registry.find_candidate(product, TASK) is None, "a candidate without its bytes was taken for one"
    assert log(registry, product, fitted[0]).run_id == begun.info.run_id
    refitted = log(registry, product, fitted[1])
    assert (refitted.run_id, refitted.digest) == (begun.info.run_id, fitted[1].digest)
    assert registry.find_candidate(product, TASK) == refitted
    assert len(runs(registry, product)) == 1


def test_a_candidate_becomes_one_version_however_often_it_is_registered(registry, fitted, product):
    candidate = log(registry, product, fitted[0])
    first = registry.register(candidate, {"headrace.feature_commit": "c0ffee"})
    again = registry.register(candidate, {"headrace.feature_commit": "c0ffee", "headrace.as_of": "later"})
    assert first == again == ModelRef(product, "1", candidate.run_id, fitted[0].digest)
    assert registry.versions(product) == [first]
    tags = registry.version_tags(first)
    assert (tags["headrace.feature_commit"], tags["headrace.as_of"]) == ("c0ffee", "later")
    registry.tag_version(first, {"headrace.signer": "release"})
    assert registry.version_tags(first)["headrace.signer"] == "release"


def test_one_version_at_a_time_is_the_champion(registry, fitted, product):
    assert registry.champion(product) is None
    versions = []
    for number, one in enumerate(fitted):
        versions.append(registry.register(log(registry, product, one, f"train/{number}"), {}))
    assert registry.versions(product) == versions[::-1]
    for model in (versions[0], versions[1], versions[1], versions[0]):
        registry.promote(model)
        assert registry.champion(product) == model
    aliases = registry.client.get_registered_model(product).aliases
    assert aliases == {"champion": "1"}


def test_what_is_loaded_scores_as_what_was_fitted(registry, fitted, product):
    import mlflow as client

    candidate = log(registry, product, fitted[0])
    model = registry.register(candidate, {})
    rows = training_set(seed=6)
    scores = registry.load(candidate).predict(rows)
    assert np.array_equal(scores, registry.load(model).predict(rows))
    assert 0 < scores.min() < scores.max() < 1
    by_others = client.pyfunc.load_model(f"models:/{product}/{model.version}")
    assert np.allclose(by_others.predict(rows.to_pandas()), scores)


def test_nothing_in_the_store_is_a_pickle(registry, fitted, product, seaweedfs):
    model_id = log(registry, product, fitted[0]).model_uri.rsplit("/", 1)[-1]
    held = {key.rsplit("/", 1)[-1] for key in keys(seaweedfs, model_id)}
    assert {"model.ubj", "schema.json", "reference.json", "training.json", "MLmodel"} <= held
    assert not [name for name in held if name.endswith((".pkl", ".pickle", ".joblib", ".pt", ".py"))]
    described = registry.client.get_logged_model(model_id)
    assert described.model_id == model_id
    (card,) = [key for key in keys(seaweedfs, model_id) if key.endswith("/MLmodel")]
    text = store(seaweedfs).get_object(Bucket=BUCKET, Key=card)["Body"].read().decode()
    assert "loader_module: include.registry.pyfunc" in text
    assert "python_model" not in text


def test_other_bytes_than_were_registered_are_not_loaded(registry, fitted, product, seaweedfs):
    model = registry.register(log(registry, product, fitted[0]), {})
    with pytest.raises(DigestMismatch):
        registry.load(ModelRef(product, model.version, model.run_id, fitted[1].digest))
    model_id = registry.client.get_model_version(product, model.version).source.rsplit("/", 1)[-1]
    (trees,) = [key for key in keys(seaweedfs, model_id) if key.endswith(TREES)]
    store(seaweedfs).put_object(Bucket=BUCKET, Key=trees, Body=(fitted[1].folder / TREES).read_bytes())
    with pytest.raises(DigestMismatch, match="not those that were registered"):
        registry.load(model)
    store(seaweedfs).put_object(Bucket=BUCKET, Key=trees, Body=(fitted[0].folder / TREES).read_bytes())
    assert registry.load(model)
    planted = trees.replace(TREES, "model.pkl")
    store(seaweedfs).put_object(Bucket=BUCKET, Key=planted, Body=b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(RefusedFormat, match=r"model\.pkl"):
        registry.load(model)


def test_documents_of_a_run_are_replaced_and_missing_ones_told(registry, fitted, product):
    run_id = log(registry, product, fitted[0]).run_id
    for value in (1, 2):
        registry.write_document(run_id, "evaluation.json", {"value": value})
    assert registry.read_document(run_id, "evaluation.json") == {"value": 2}
    with pytest.raises(RegistryError, match=r"'nothing\.json'"):
        registry.read_document(run_id, "nothing.json")
    registry.log_metrics(run_id, {"test_auc": 0.8})
    registry.finish(run_id)
    (run,) = runs(registry, product)
    assert (run.info.status, run.data.metrics["test_auc"]) == ("FINISHED", 0.8)
    assert registry.started_at(run_id) == registry.started_at(run_id)


def store(seaweedfs: Any) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=seaweedfs.endpoint,
        aws_access_key_id=seaweedfs.access_key,
        aws_secret_access_key=seaweedfs.secret_key,
        region_name=seaweedfs.region,
    )


def keys(seaweedfs: Any, model_id: str) -> list[str]:
    pages = store(seaweedfs).get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    found = [item["Key"] for page in pages for item in page.get("Contents", ())]
    return [key for key in found if model_id in key]
