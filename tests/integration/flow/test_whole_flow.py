"""From the shop's database to a monitored champion: one ingestion, and every other DAG follows by itself.

The tests stand in the order in which things happen; the last leaves a second champion or none.
"""

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from include.lake import Lake, checkout
from include.lake.history import log
from include.orchestration.lineage import load_released
from include.products import PRODUCTS
from include.registry.store import Registry
from include.stack.airflow import repository_root
from tests.integration.flow.conftest import (
    AS_OF,
    BUILD,
    COUPON,
    FOLLOWING,
    INGEST,
    LAPSE,
    VICTIMS,
    ask,
    await_run,
)

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(1500)]

PUBLISHING = {INGEST, BUILD, *(f"train__{one.name}" for one in PRODUCTS)} | set(FOLLOWING)


def states(api, dag, run) -> dict[str, str]:
    return {task.name: task.state for task in api.tasks(dag, run)}


def test_every_flow_follows_from_one_ingestion(flow, api):
    assert set(flow.runs) == {INGEST, *FOLLOWING}
    trained = states(api, f"train__{LAPSE.name}", flow.runs[f"train__{LAPSE.name}"])
    assert (trained["release"], trained["stop"]) == ("success", "skipped")
    stopped = states(api, f"train__{COUPON.name}", flow.runs[f"train__{COUPON.name}"])
    assert (stopped["release"], stopped["stop"]) == ("skipped", "success")
    for dag in (f"score__{COUPON.name}", f"monitor__{COUPON.name}"):
        assert set(api.runs(dag)) == flow.before[dag], "what did not pass its gate starts nothing"


def test_every_task_that_was_killed_was_tried_again_and_ended_well(flow, api):
    assert set(flow.killed) == set(VICTIMS)
    for (dag, task), killed in flow.killed.items():
        assert killed.run == flow.runs[dag]
        instances = ask(api, f"/dags/{dag}/dagRuns/{killed.run}/taskInstances")["task_instances"]
        (instance,) = [
            one for one in instances if (one["task_id"], one["map_index"]) == (task, killed.map_index)
        ]
        assert (instance["state"], instance["try_number"]) == ("success", 2), (dag, task)


def test_every_run_published_once_though_its_task_was_killed(flow, lake):
    records = [one.record for one in log(lake) if one.record is not None]
    for dag, run in flow.runs.items():
        assert [(one.station, one.run_id) for one in records].count((dag, run)) == 1, dag
    keys = [one.run_id for one in records if one.station == "release"]
    assert keys.count(f"train__{LAPSE.name}/{flow.runs[f'train__{LAPSE.name}']}") == 1
    branches = lake.api.branches_api.list_branches(lake.repository).results
    left = [one.id for one in branches if any(run in one.id for run in flow.runs.values())]
    assert left == [], "drafts of tries that were killed"


def test_every_run_left_one_version_or_none_though_its_task_was_killed(flow, settings):
    registry = Registry.connect(settings)
    for product, versions in ((LAPSE, 1), (COUPON, 0)):
        key = f"train__{product.name}/{flow.runs[f'train__{product.name}']}"
        experiment = registry.client.get_experiment_by_name(product.name)
        assert experiment is not None
        found = registry.client.search_runs(
            [experiment.experiment_id], f"tags.`headrace.run_key` = '{key}'", max_results=10
        )
        (run,) = found
        assert run.info.status == "FINISHED"
        registered = [one for one in registry.versions(product.name) if one.run_id == run.info.run_id]
        assert len(registered) == versions


def test_a_champion_serves_only_with_a_manifest_that_names_its_origins(flow, lake, settings, monkeypatch):
    monkeypatch.setattr("include.orchestration.lineage.settings", lambda: settings)
    registry = Registry.connect(settings)
    commits = {entry.commit.commit: entry for entry in log(lake)}
    model = registry.champion(LAPSE.name)
    assert model is not None
    _, manifest = load_released(lake, registry, model)
    assert manifest.as_of.isoformat() == AS_OF
    assert manifest.gate_passed
    for commit, station in ((manifest.data_commit, INGEST), (manifest.feature_commit, BUILD)):
        record = commits[commit].record
        assert record is not None
        assert (record.station, record.run_id) == (station, flow.runs[station])
        assert record.suite_hash in manifest.suite_hashes.values()


def test_predictions_name_model_and_features(flow, lake, settings):
    model = Registry.connect(settings).champion(LAPSE.name)
    assert model is not None
    prefix = f"predictions/{LAPSE.name}"
    with checkout(lake, lake.head(), prefix) as held:
        table = pq.read_table(held.path(prefix), partitioning=None)
    assert table.num_rows > 400
    assert set(table["model_digest"].to_pylist()) == {model.digest}
    assert max(table["event_timestamp"].to_pylist()).isoformat() <= AS_OF


def test_no_training_set_knows_anything_of_later(flow, lake: Lake, api):
    for product in PRODUCTS:
        dag = f"train__{product.name}"
        pinned = api.xcom(dag, flow.runs[dag], "pin")
        with checkout(lake, lake.head(), pinned["prefix"]) as held:
            rows = pq.read_table(held.path(pinned["prefix"]) / "rows.parquet")
        assert rows.num_rows > 300
        times = [name for name in rows.column_names if name.endswith("_timestamp")]
        assert len(times) == 2 + 2 * len(product.features)
        for name in times:
            known = [moment.isoformat() for moment in rows[name].to_pylist() if moment is not None]
            assert known
            assert max(known) <= AS_OF


def test_the_auditor_finds_every_invariant_kept(flow, settings):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")}
    environment |= {"HEADRACE_HOME": str(settings.home), "PYTHONPATH": str(repository_root())}
    command = [sys.executable, "-c", "from include.cli import app; app()", "audit", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    found = {one["invariant"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 0, [one["violations"] for one in found.values()] + [done.stderr]
    reached = {"I1", "I1+", "I2", "I4", "I5", "I6", "I7", "I8", "I9", "I10"}
    assert {name for name, one in found.items() if one["outcome"] == "kept" and one["checked"]} == reached


def test_a_champion_that_grew_old_starts_a_training_by_its_request(flow, api, lake, settings):
    train, monitor = f"train__{LAPSE.name}", f"monitor__{LAPSE.name}"
    api.pause(f"score__{LAPSE.name}", paused=True)
    known = {dag: set(api.runs(dag)) for dag in (train, monitor)}
    api.trigger(monitor, "later")
    run = await_run(api, monitor, known[monitor])
    found = api.xcom(monitor, run, "watch", "monitored")
    assert found["retrain"] is True
    assert found["as_of"] > AS_OF
    assert found["matured_rows"] >= 400
    assert 0 < found["performance"] <= 1
    requested = await_run(api, train, known[train])
    assert api.xcom(train, requested, "pin")["as_of"] == found["as_of"], "as of the moment of the request"
