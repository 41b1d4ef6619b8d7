"""The gate's results as the pages show them, from a real lake: of a refused run, a published one, a draft."""

import json
from dataclasses import asdict
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from include.lake import Lake, commit_draft, merge_draft, open_draft, refuse, upload
from include.orchestration.pages import view
from include.orchestration.pages.handed_on import HandedOn
from include.settings import Settings
from include.validation.draft import judge_draft

pytestmark = pytest.mark.integration

TABLE, EVIDENCE = "features/orders", "features/_gate"
RULES = [
    {"type": "expect_column_values_to_be_unique", "severity": "critical", "kwargs": {"column": "id"}},
    {
        "type": "expect_column_values_to_be_between",
        "severity": "warning",
        "kwargs": {"column": "price", "max_value": 10},
        "description": "prices are <small>",
    },
    {"type": "expect_column_values_to_not_be_null", "severity": "critical", "kwargs": {"column": "id"}},
]


@pytest.fixture
def settings(lake_server_local, tmp_path, monkeypatch):
    known = Settings(
        home=tmp_path,
        lakefs_endpoint=lake_server_local.endpoint,
        lakefs_access_key_id=lake_server_local.access_key_id,
        lakefs_secret_access_key=SecretStr(lake_server_local.secret_access_key),
        lake_repository=f"lake-{uuid4().hex[:12]}",
        lake_storage_namespace=f"local://lake/{uuid4().hex}",
    )
    monkeypatch.setattr(view, "settings", lambda: known)
    return known


def judged_draft(settings, tmp_path, ids):
    """A draft that was judged: lake, draft, verdict, and what its tasks handed on."""
    lake = Lake.prepare(settings)
    draft = open_draft(lake, "manual__1", "build_features__shop")
    folder = tmp_path / "orders"
    folder.mkdir()
    pq.write_table(pa.table({"id": ids, "price": [1, 2, 30]}), folder / "part.parquet")
    upload(lake, draft, folder, TABLE)
    suite = tmp_path / "expectations" / f"{TABLE}.json"
    suite.parent.mkdir(parents=True)
    suite.write_text(json.dumps({"name": TABLE, "expectations": RULES}))
    verdict = judge_draft(
        lake,
        settings,
        draft,
        {TABLE: TABLE},
        evidence_prefix=EVIDENCE,
        expectations=tmp_path / "expectations",
    )
    values = {
        ("build", "return_value"): {"__data__": asdict(draft)},
        ("gate", "judged"): {"__data__": {"verdict": asdict(verdict), "seconds": 1.0}},
        ("gate", "scope"): {"tables": [TABLE], "evidence": EVIDENCE},
    }
    return lake, draft, verdict, values


def shown(values):
    gate = view.gate_of(HandedOn(values))
    assert gate is not None
    assert list(gate.tables) == [TABLE]
    return gate, [(rule.rule, rule.held, rule.severity, bool(rule.observed)) for rule in gate.rules]


UNIQUE, PRICES, NOT_NULL = (
    "expect_column_values_to_be_unique(id)",
    "prices are <small>",
    "expect_column_values_to_not_be_null(id)",
)


def test_a_refused_run_shows_every_rule_with_what_was_seen(settings, tmp_path):
    lake, draft, verdict, values = judged_draft(settings, tmp_path, [1, 1, 2])
    assert not verdict.passed
    rules = [(UNIQUE, False, "fail", True), (PRICES, False, "warn", True), (NOT_NULL, True, "fail", False)]
    gate, found = shown(values)  # before any step followed: on the draft
    assert found == rules
    assert draft.branch in gate.origin
    refused = refuse(lake, draft, verdict)
    gate, found = shown({**values, ("refuse", "refused"): {"__data__": asdict(refused)}})
    assert found == rules
    assert refused.commit.commit[:12] in gate.origin
    assert "2 of 3" in gate.rules[0].observed


def test_a_published_run_shows_them_as_the_commit_keeps_them(settings, tmp_path):
    lake, draft, verdict, values = judged_draft(settings, tmp_path, [1, 2, 3])
    assert verdict.passed
    commit_draft(lake, draft, "Build", {}, verdict)
    published = merge_draft(lake, draft)
    values[("publish", "published")] = {"__data__": asdict(published)}
    gate, found = shown(values)
    assert found == [
        (PRICES, False, "warn", True),
        (UNIQUE, True, "fail", False),
        (NOT_NULL, True, "fail", False),
    ]
    assert published.commit.commit[:12] in gate.origin
    commit = view.commit_of(published.commit.commit)
    assert commit.message == "Build"
    assert ("added", f"{TABLE}/part.parquet") in commit.changes
    assert ("added", f"{EVIDENCE}/orders.json") in commit.changes
    assert not commit.more


def test_without_evidence_the_verdict_tells_as_much_as_its_suites_do(settings, tmp_path):
    *_, values = judged_draft(settings, tmp_path, [1, 1, 2])
    values[("gate", "scope")] = {"tables": [TABLE], "evidence": None}
    gate, found = shown(values)  # the suites of this repository know no such table
    assert found == [(UNIQUE, False, "fail", True), (PRICES, False, "warn", True)]
    assert "only what did not hold" in gate.origin
