"""Our pages in Airflow's web application: who may see them, what they serve, the links to them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from include.features.dbt import NodeResult
from include.features.results import BuildResults, keep_results
from include.orchestration.links import LINKS

ROOT = Path(__file__).parents[2]
DAG, RUN = "build_features__shop", "manual__2026-01-01T00:00:00+00:00"
COMMIT = "c0ffee" * 10
VERDICT = {
    "passed": False,
    "suite_hash": "ab" * 32,
    "checked": 7,
    "findings": {
        "__classname__": "builtins.tuple",
        "__version__": 1,
        "__data__": [
            {"table": "features/baskets", "rule": "<b>unique</b>", "observed": "2 of 10", "severity": "fail"}
        ],
    },
}
HANDED_ON = {
    "build.built": {
        "__classname__": "include.spec.refs.Built",
        "__data__": {"data": {"repository": "lake", "commit": COMMIT}},
    },
    "gate.judged": {
        "__classname__": "include.spec.refs.Judged",
        "__data__": {"verdict": VERDICT, "seconds": 1.0},
    },
    "gate.scope": {"tables": ["features/baskets"], "evidence": None},
    "refuse.refused": {
        "__classname__": "include.spec.refs.Refused",
        "__data__": {"commit": {"repository": "lake", "commit": COMMIT}},
    },
    "fit.return_value": {"__classname__": "include.spec.refs.CandidateRef", "__data__": {"run_id": "r1"}},
}
NODES = (
    NodeResult("feat_baskets", "model", "success", 0.5, "dbt_project/models/feat_baskets.sql", rows=1234),
    NodeResult("unique_baskets", "test", "fail", 0.1, "dbt_project/models/_m.yml", "Got 2 results", 2),
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    home, airflow = folder / "home", folder / "airflow"
    for made in (home / "dbt_docs", home / "reports", airflow):
        made.mkdir(parents=True)
    (home / "stack.env").write_text("HEADRACE_MLFLOW_TRACKING_URI=http://registry.example\n")
    (home / "dbt_docs/index.html").write_text("the docs")
    (home / "reports/first.html").write_text("the report")
    (home / "reports/notes.txt").write_text("notes")
    (home / "reports/link.html").symlink_to(home / "stack.env")
    keep_results(home, DAG, RUN, BuildResults("shop", COMMIT, 2.5, NODES, "unique_baskets failed"))
    (airflow / "passwords.json").write_text(json.dumps({"admin": "planted"}))
    handed_on = folder / "run.json"
    handed_on.write_text(json.dumps(HANDED_ON))
    options = {
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(airflow / "passwords.json"),
        "API_AUTH__JWT_SECRET": "x" * 64,
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow}/airflow.db",
    }
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "HEADRACE"))},
        **{f"AIRFLOW__{name}": value for name, value in options.items()},
        "AIRFLOW_HOME": str(airflow),
        "HEADRACE_HOME": str(home),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, str(ROOT / "tests/dags/ask_pages.py"), str(handed_on)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def of_run(answers, page):
    return answers["run"][f"/runs/{DAG}/{RUN}{page}".replace("+", "%2B")]


def test_every_page_wants_a_user(answers):
    assert len(answers["routes"]) == 10
    refused = [path for path, answer in answers["anonymous"].items() if answer["status"] == 401]
    assert len(refused) == 13
    for path, answer in answers["anonymous"].items():
        assert answer["status"] in (401, 404), path
        assert "the docs" not in answer["text"]
        assert "the report" not in answer["text"]
        assert answers["forged"][path]["status"] == {401: 403, 404: 404}[answer["status"]], path


def test_a_user_sees_docs_and_reports_in_an_origin_of_their_own(answers):
    user = answers["user"]
    served = {path: answer["text"] for path, answer in user.items() if answer["status"] == 200}
    assert served.pop("/reports").count("first.html") == 1
    assert served == {"/dbt": "the docs", "/report": "the report", "/reports/first.html": "the report"}
    for path in served:
        policy = user[path]["policy"]
        assert policy.startswith("sandbox ")
        assert "allow-same-origin" not in policy


def test_nothing_outside_the_folders_is_served(answers):
    escapes = [path for path in answers["user"] if "stack.env" in path or "link" in path or "notes" in path]
    assert len(escapes) == 5
    for path in escapes:
        assert answers["user"][path]["status"] == 404, path
        assert "registry.example" not in answers["user"][path]["text"]
    assert answers["user"]["/commits/zz"]["status"] == 422


def test_models_and_tests_of_a_failed_build(answers):
    page = of_run(answers, "/models")
    assert page["status"] == 200
    for shown in (
        "feat_baskets",
        "1,234",
        "unique_baskets",
        "Got 2 results",
        "unique_baskets failed",
        COMMIT[:12],
    ):
        assert shown in page["text"], shown


def test_the_gate_of_a_refused_run_and_no_markup_of_data(answers):
    page = of_run(answers, "/gate")["text"]
    assert "Refused" in page
    assert "2 of 10" in page
    assert "&lt;b&gt;unique&lt;/b&gt;" in page
    assert "<b>unique" not in page
    assert "default-src 'none'" in of_run(answers, "/gate")["policy"]


def test_the_run_leads_to_its_commit_and_its_registry_run(answers):
    assert of_run(answers, "/commit")["to"] == f"/headrace/commits/{COMMIT}"
    assert of_run(answers, "/registry")["to"] == "http://registry.example/#/runs/r1"
    overview = of_run(answers, "")["text"]
    assert overview.count(COMMIT) >= 2
    assert "feat_baskets" in overview


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("build_features__shop.build", {"dbt docs", "models and tests"}),
        ("build_features__shop.gate", {"gate results"}),
        ("ingest_batch__shop.publish", {"gate results", "lake commit"}),
        ("score__x.refuse", {"gate results", "lake commit"}),
        ("train__x.fit", {"MLflow run"}),
        ("train__x.judge", {"gate results", "MLflow run"}),
        ("train__x.release", {"gate results", "MLflow run"}),
        ("monitor__x.watch", {"lake commit"}),
        ("ingest_batch__shop.land", set()),
        ("someone_elses.build", set()),
    ],
)
def test_the_links_of_a_task(task, expected):
    dag, _, name = task.partition(".")
    key = SimpleNamespace(dag_id=dag, task_id=name, run_id=RUN)
    links = {link.name: link.get_link(None, ti_key=key) for link in LINKS}
    assert {name for name, address in links.items() if address} == expected
    for address in filter(None, links.values()):
        assert address.startswith("/headrace/")
        assert "+" not in address
