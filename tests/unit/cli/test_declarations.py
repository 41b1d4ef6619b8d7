"""`headrace lint | plan` as a person or a program calls them."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from include.cli import app, inventory
from include.cli.consistency_of_tables import predicted_columns
from include.products import PRODUCTS
from include.serving import batch
from include.spec.refs import CommitRef, ModelRef

RUN = CliRunner()


@pytest.fixture
def planted(monkeypatch):
    """Declarations in which the first product names a table that there is none of."""
    declared = inventory.read_declarations()
    first, *others = declared.products
    wrong = (first.model_copy(update={"features": ("feat_household__absent",)}), *others)
    monkeypatch.setattr(inventory, "read_declarations", lambda: replace(declared, products=wrong))


def test_lint_tells_the_inventory_first_and_finds_nothing():
    done = RUN.invoke(app, ["lint"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Declared: 2 products, 2 sources, 13 raw tables")
    assert "0 findings" in done.output


def test_lint_fails_on_a_finding(planted):
    done = RUN.invoke(app, ["lint"])
    assert done.exit_code == 1
    assert "include/products/coupon_redemption.py" in done.output
    assert "there is no feature table 'feat_household__absent'" in done.output
    told = RUN.invoke(app, ["lint", "--json"])
    assert told.exit_code == 1
    document = json.loads(told.output)
    assert document["checks"] > 400
    assert document["inventory"]["products"] == 2
    fields = {(one["file"], one["field"]) for one in document["findings"]}
    assert ("include/products/coupon_redemption.py", "features") in fields


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_a_plan_tells_tables_dags_and_gates(product):
    told = json.loads(RUN.invoke(app, ["plan", product.name, "--json"]).output)
    assert [row["path"] for row in told["feature_tables"]] == [
        f"features/{name}" for name in product.features
    ]
    assert len(told["source_tables"]) == 8
    assert all(row["rules"] for row in (*told["feature_tables"], *told["source_tables"]))
    assert told["label"]["column"] == product.label.column
    assert told["training"]["kind"] == product.train.kind
    assert told["gate"]["primary"] == product.gate.primary
    assert [row["dag"].split("__")[0] for row in told["dags"]] == [
        *("ingest_batch", "ingest_cdc", "stage_tables", "build_features", "train", "score", "monitor"),
    ]
    shown = RUN.invoke(app, ["plan", product.name])
    assert shown.exit_code == 0
    assert f"train__{product.name}" in shown.output


def test_an_excluded_column_is_not_among_the_inputs(monkeypatch):
    from include.cli.product_plan import plan_of

    product = PRODUCTS[0].model_copy(update={"exclude": ("campaign_type",)})
    rows = plan_of(product, inventory.read_declarations())["feature_tables"]
    terms = next(row for row in rows if row["path"].endswith("terms"))
    assert terms["excluded"] == ["campaign_type"]
    assert "campaign_type" not in terms["columns"]
    assert "duration_days" in terms["columns"]


def test_an_unknown_product_is_one_error_that_lists_those_there_are():
    done = RUN.invoke(app, ["plan", "churn"])
    assert done.exit_code == 1
    assert "'churn'" in done.output
    assert all(product.name in done.output for product in PRODUCTS)
    assert "Traceback" not in done.output


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_the_columns_of_predictions_are_those_that_scoring_writes(product):
    class Constant:
        reference: Any = None
        schema: Any = None

        def predict(self, rows):
            return np.full(rows.num_rows, 0.5)

    keys = (*product.entity, "event_timestamp")
    model = ModelRef(product=product.name, version="1", digest="d" * 64, run_id="r")
    scored = batch.score(
        Constant(),
        model,
        pa.table({key: [2, 1] for key in keys}),
        keys=keys,
        features_at=CommitRef("lake", "c" * 64),
        as_of=datetime(2017, 12, 1),
    )
    assert tuple(scored.column_names) == predicted_columns(product)
