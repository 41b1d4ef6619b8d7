"""The DAGs of features and products: what there is, in which order, and which asset starts what."""

import pytest

from include.products import PRODUCTS
from include.sources import SOURCES

STEPS = {
    "ingest_cdc": {
        "begin": ["follow", "open_draft"],
        "follow": [],
        "open_draft": ["capture", "gate", "publish", "refuse"],
        "capture": ["gate", "publish"],
        "gate": ["publish", "refuse"],
        "publish": [],
        "refuse": [],
    },
    "stage_tables": {
        "build": ["gate", "publish", "refuse"],
        "gate": ["publish", "refuse"],
        "publish": [],
        "refuse": [],
    },
    "build_features": {
        "build": ["gate", "publish", "refuse"],
        "gate": ["publish", "refuse"],
        "publish": [],
        "refuse": [],
    },
    "train": {
        "pin": ["fit", "judge"],
        "fit": ["judge"],
        "judge": ["release", "stop"],
        "release": [],
        "stop": [],
    },
    "score": {
        "score": ["gate", "publish", "refuse"],
        "gate": ["publish", "refuse"],
        "publish": [],
        "refuse": [],
    },
    "monitor": {"watch": ["request_retraining"], "request_retraining": []},
    "maintain_lake": {
        "collect_drafts": ["collect_objects"],
        "collect_objects": [],
        "trim_cache": [],
        "clear_leftovers": [],
    },
}


# Of each source that declares a capture.
CAPTURED = ("ingest_cdc", "stage_tables")


def outlets(dag):
    return {asset for task in dag["tasks"].values() for asset in task["outlets"]}


def test_the_inventory(dag_bag):
    products = {product.name for product in PRODUCTS}
    assert products == {"coupon_redemption", "household_lapse"}
    expected = {f"ingest_batch__{source.name}" for source in SOURCES}
    expected |= {f"build_features__{product.source}" for product in PRODUCTS}
    expected |= {f"{flow}__{source.name}" for source in SOURCES if source.capture for flow in CAPTURED}
    expected |= {f"{flow}__{name}" for name in products for flow in ("train", "score", "monitor")}
    assert set(dag_bag["dags"]) == {*expected, "maintain_lake"}


@pytest.mark.parametrize("flow", sorted(STEPS))
def test_steps_and_their_order(dag_bag, flow):
    dags = [dag for name, dag in dag_bag["dags"].items() if name.split("__")[0] == flow]
    assert dags
    for dag in dags:
        assert {name: task["downstream"] for name, task in dag["tasks"].items()} == STEPS[flow]


def test_assets_chain_the_flows(dag_bag):
    dags = dag_bag["dags"]
    assert outlets(dags["ingest_batch__retail"]) == {"raw/retail"}
    assert outlets(dags["ingest_cdc__retail"]) == {"raw/retail/changes"}
    assert dags["stage_tables__retail"]["triggers"] == ["raw/retail/changes"]
    assert outlets(dags["stage_tables__retail"]) == {"staged/retail"}
    assert dags["build_features__retail"]["triggers"] == ["raw/retail"]
    assert outlets(dags["build_features__retail"]) == {"features/retail"}
    for product in PRODUCTS:
        train, score, monitor = (dags[f"{flow}__{product.name}"] for flow in ("train", "score", "monitor"))
        request = f"monitoring/{product.name}/retrain_request"
        assert train["triggers"] == ["features/retail", request]
        assert outlets(train) == set(score["triggers"]) == {f"registry/{product.name}/champion"}
        assert outlets(score) == set(monitor["triggers"]) == {f"predictions/{product.name}"}
        assert outlets(monitor) == {request}


def test_every_dated_dag_takes_a_moment(dag_bag):
    undated = ("ingest_batch", *CAPTURED, "maintain_lake")
    dated = [name for name in dag_bag["dags"] if not name.startswith(undated)]
    assert len(dated) == 1 + 3 * len(PRODUCTS)
    for name in dated:
        assert "as_of" in dag_bag["dags"][name]["params"], name


def test_the_upkeep_asks_for_its_ages(dag_bag):
    ages = {"abandoned_after_days", "refused_for_days", "unreferenced_after_hours", "leftover_after_hours"}
    assert set(dag_bag["dags"]["maintain_lake"]["params"]) == {*ages, "dry_run"}
    assert dag_bag["dags"]["maintain_lake"]["max_active_runs"] == 1


def test_a_capture_runs_on_demand_and_can_be_told_to_go_on(dag_bag):
    dag = dag_bag["dags"]["ingest_cdc__retail"]
    assert (dag["cron"], dag["triggers"], dag["backfilled"]) == ("", [], None)
    assert dag["forms"]["continuous"]["type"] == "boolean"
    assert dag["max_active_runs"] == 1
    told = {name for name, task in dag["tasks"].items() if task["outlets"]}
    assert told == {"publish", "follow"}
