"""What the stations write is what the report reads: documents of today, and of earlier versions of them."""

import json
from dataclasses import asdict, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from include.demo.report import story
from include.demo.report.from_lake import commit_lines, warnings
from include.demo.report.from_registry import _candidate, _monitoring, _predictions
from include.demo.report.product_lines import evaluation_line
from include.evaluation.bootstrap import compare
from include.evaluation.evaluate import evaluate
from include.evaluation.gate import judge_candidate
from include.evaluation.importance import permutation_importance
from include.lake.history import LogEntry
from include.lake.record import RunRecord
from include.monitoring.drift import ColumnDrift, DriftReport
from include.monitoring.findings import Findings
from include.monitoring.retraining import Decision
from include.spec.product import Gate
from include.spec.refs import CommitRef
from include.spec.verdict import Finding
from tests.unit.demo.report_samples import PRODUCT, UNTRAINED, WHOLE

GATE = Gate(primary="roc_auc", slices=("kind",), slice_min_rows=50)


@pytest.fixture(scope="module")
def document():
    """As `judge` keeps it with the run."""
    random = np.random.default_rng(4)
    scores = random.beta(1, 4, size=800)
    truth = (random.uniform(size=800) < scores).astype(float)
    rows = pa.table({"kind": random.choice(["A", "B"], size=800), "score": scores})
    entities = np.arange(800)
    importance = permutation_importance(
        lambda table: table["score"].to_numpy(), ["kind", "score"], rows, truth, "roc_auc"
    )
    evaluation = evaluate(GATE, "binary", rows, truth, scores, entities, importance)
    worse = np.clip(scores + random.normal(0, 0.3, size=800), 0, 1)
    comparison = compare(GATE.better_than_champion, "roc_auc", truth, worse, scores, entities)
    verdict = judge_candidate("coupon_redemption", GATE, evaluation, comparison)
    found = {
        "evaluation": evaluation.to_json(),
        "comparison": asdict(comparison),
        "champion_version": "3",
        "verdict": asdict(verdict),
        "training_set": {
            "id": "6b18ffce08aac6de",
            "as_of": "2017-11-02T06:00:00",
            "rows": {"test": {"rows": 800, "mean_label": 0.2}},
        },
    }
    return json.loads(json.dumps(found))


def candidate(document):
    return _candidate(
        document, primary="roc_auc", run_id="run", made_by="train__p/1", version="", url="http://127.0.0.1"
    )


def test_a_candidate_is_read_as_it_was_judged(document):
    found = candidate(document)
    assert found.evaluation.metrics[0].name == "roc_auc"
    primary = found.evaluation.metrics[0]
    assert primary.low < primary.value < primary.high
    assert primary.no_skill == pytest.approx(0.5)
    assert {part.value for part in found.evaluation.slices} == {"A", "B"}
    assert [one.column for one in found.evaluation.importance] == ["score", "kind"]
    assert found.evaluation.curves is not None
    assert len(found.evaluation.curves.predicted) == 10
    assert found.rows == (("test", 800, 0.2),)
    assert not found.passed


def test_a_lost_comparison_is_told_with_its_bounds(document):
    found = candidate(document)
    assert found.comparison is not None
    assert found.comparison.high is not None
    assert found.comparison.low < found.comparison.gain < found.comparison.high
    told = story.verdict(found)
    assert told.startswith("Version 3 stays, the challenger's gain -0.")
    assert "p = 1.000" in told


def test_documents_of_earlier_versions_are_read_and_what_they_lack_is_absent(document):
    old = json.loads(json.dumps(document))
    del old["evaluation"]["importance"], old["comparison"]["high"]
    found = candidate(old)
    assert found.evaluation.importance == ()
    assert found.comparison is not None
    assert found.comparison.high is None
    assert "at least" in story.verdict(found)


def test_documents_of_later_versions_are_read_too(document):
    new = json.loads(json.dumps(document["evaluation"]))
    new["slices"][0]["colour"] = new["metrics"]["roc_auc"]["colour"] = new["colour"] = "blue"
    assert evaluation_line(new, "roc_auc") == evaluation_line(document["evaluation"], "roc_auc")


def findings(performance):
    shares = (0.5, 0.5)
    return Findings(
        product="coupon_redemption",
        model_version="1",
        as_of=datetime(2017, 12, 31, 6),
        drift=DriftReport(10, (ColumnDrift("visits", 1.5, True, shares, shares),), 1.0, True),
        matured_rows=800,
        performance=performance,
        decision=Decision(True, ("drifted",)),
    )


def test_findings_are_read_as_monitoring_wrote_them(document):
    written = json.loads(findings(document["evaluation"]).to_json())
    found = _monitoring(written, "c0ffee", "roc_auc", 0.9)
    assert found.performance is not None
    assert found.performance.value == document["evaluation"]["metrics"]["roc_auc"]["value"]
    assert (found.rows, found.columns[0].psi, found.retrain, found.commit) == (10, 1.5, True, "c0ffee")
    assert "0.900 at release; 800 predictions" in story.matured(found)
    unknown = _monitoring(json.loads(findings(None).to_json()), "c0ffee", "roc_auc", None)
    assert unknown.performance is None
    assert "800 predictions with a known truth" in story.matured(unknown)


def entry(commit, station, message="", worst=(), rows=None, metadata=()):
    record = RunRecord(
        "published",
        f"run-{commit}",
        station,
        "",
        "",
        suite_hash="ab",
        checked=5,
        worst=worst,
        rows=rows or {},
    )
    return LogEntry(CommitRef("lake", commit), 1_700_000_000, "me", message, record, metadata)


def test_warnings_are_those_of_the_newest_commit_of_each_flow():
    old, new, other = (Finding("raw/t", rule, "", "warn") for rule in ("old", "new", "other"))
    history = [
        entry("c3", "ingest", worst=(new,)),
        entry("c2", "build", worst=(other,)),
        entry("c1", "ingest", worst=(old,)),
    ]
    assert set(warnings(history)) == {new, other}


def test_a_commit_is_told_with_verdict_rows_and_the_address_of_its_page():
    (line,) = commit_lines([entry("c1", "ingest", "Ingest", rows={"a": 2, "b": 3})], "http://127.0.0.1:8080")
    assert (line.verdict, line.rows, line.run_id) == ("passed, 5 rules", 5, "run-c1")
    assert line.url == "http://127.0.0.1:8080/headrace/commits/c1"


def test_predictions_are_read_from_the_log_of_their_own_product_oldest_first():
    told = (("model_version", "2"), ("rows", "785"))
    message = "Predict coupon_redemption as of 2018-01-01T06:00:00: 785 rows"
    history = [
        entry("c3", "score__coupon_redemption", message, metadata=told),
        entry("c2", "score__household_lapse", message, metadata=told),
        entry("c1", "score__coupon_redemption", message.replace("2018", "2017"), metadata=told),
    ]
    found = list(_predictions("coupon_redemption", history))
    assert [one.as_of for one in found] == ["2017-01-01T06:00:00", "2018-01-01T06:00:00"]
    assert {(one.rows, one.version) for one in found} == {(785, "2")}


@pytest.mark.parametrize(
    ("products", "told"),
    [
        ((PRODUCT, UNTRAINED), "One of two models is in service"),
        ((PRODUCT,), "One model is in service"),
        ((PRODUCT, replace(PRODUCT, name="b")), "Two models are in service"),
        ((replace(PRODUCT, versions=()), UNTRAINED), "No model has passed its gate yet"),
        ((UNTRAINED,), "The lake is filled"),
    ],
)
def test_the_headline_says_how_many_models_serve(products, told):
    assert story.headline(replace(WHOLE, products=products)) == told


def test_what_came_of_a_run_is_told_from_what_it_left_in_the_stores():
    told = [story.outcome(WHOLE, run) for run in WHOLE.runs]
    assert told[0] == "Ingest retail: coupons (passed, 77 rules)"
    assert told[1].startswith("Released as version 1: average precision 0.402")
    assert told[2].startswith("Version 1 stays, the challenger's gain -0.011 [-0.030, +0.010]")
