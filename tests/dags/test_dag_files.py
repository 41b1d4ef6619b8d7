"""Every DAG file: what it gives, that it reads without error, quickly and light, and the house's policy."""

from pathlib import Path

import pytest

from include.sources import SOURCES

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in (ROOT / "dags").glob("*.py") if path.name != "__init__.py")


def test_the_inventory_of_ingestion(dag_bag):
    found = {name for name in dag_bag["dags"] if name.startswith("ingest_batch__")}
    assert found == {f"ingest_batch__{source.name}" for source in SOURCES}
    assert "ingest_batch__retail" in found


def test_every_file_gives_a_dag_and_no_file_fails(dag_bag):
    assert FILES
    assert {Path(dag["fileloc"]).name for dag in dag_bag["dags"].values()} == {path.name for path in FILES}
    assert dag_bag["errors"] == {}


def test_the_tasks_of_ingestion_and_their_order(dag_bag):
    tasks = dag_bag["dags"]["ingest_batch__retail"]["tasks"]
    assert {name: task["downstream"] for name, task in tasks.items()} == {
        "open_draft": ["gate", "land", "publish", "refuse"],
        "land": ["gate", "publish"],
        "gate": ["publish", "refuse"],
        "publish": [],
        "refuse": [],
    }
    assert tasks["publish"]["outlets"] == ["raw/retail"]
    assert [name for name, task in tasks.items() if task["outlets"]] == ["publish"]


def test_reading_dags_imports_nothing_heavy(dag_bag):
    assert dag_bag["dags"]
    assert dag_bag["heavy"] == []


def test_every_dag_names_its_flow(dag_bag):
    for name, dag in dag_bag["dags"].items():
        assert name.split("__")[0] == Path(dag["fileloc"]).stem or name == Path(dag["fileloc"]).stem


def test_every_dag_keeps_the_policy(dag_bag):
    assert dag_bag["dags"]
    for name, dag in dag_bag["dags"].items():
        assert dag["tags"], name
        assert len(dag["doc_md"]) > 80, name
        assert 1 <= dag["max_active_runs"] <= 4, name
        assert dag["catchup"] is False, name
        assert dag["dagrun_timeout"], name
        assert dag["paused"] is False, name


def test_every_dag_has_a_deadline_that_alerts_its_owner_before_the_run_is_ended(dag_bag):
    assert dag_bag["dags"]
    for name, dag in dag_bag["dags"].items():
        (deadline,) = dag["deadlines"]
        assert deadline["reference"] == "DagRunQueuedAtDeadline", name
        assert 0 < deadline["seconds"] < dag["timeout_s"], name
        assert deadline["callback"] == "include.orchestration.callbacks.alert_of_missed_deadline", name
        owners = {task["owner"] for task in dag["tasks"].values()}
        assert owners == {deadline["kwargs"]["owner"]}, name


def test_every_form_says_what_it_wants(dag_bag):
    forms = {name: dag["forms"] for name, dag in dag_bag["dags"].items()}
    dated = {name for name in forms if name.split("__")[0] in ("build_features", "train", "score", "monitor")}
    assert len(dated) >= 7
    for name, form in forms.items():
        assert form, name
        assert ("as_of" in form) == (name != "maintain_lake"), name
        for field, schema in form.items():
            assert schema.get("type"), f"{name}.{field}"
            assert schema.get("description"), f"{name}.{field}"
        if "as_of" in form:
            assert form["as_of"]["type"] == ["null", "string"], name
            assert form["as_of"]["format"] == "date-time", name
        assert form["dry_run"]["type"] == "boolean", name


def test_the_dated_dags_backfill_and_those_that_wait_for_data_do_not(dag_bag):
    runs = {name: dag["backfilled"] for name, dag in dag_bag["dags"].items()}
    days = ("2017-11-05", "2017-11-06")
    assert runs["score__coupon_redemption"] == [f"{day}T05:00:00+00:00" for day in days]
    for name in ("monitor__coupon_redemption", "monitor__household_lapse"):
        assert runs[name] == [f"{day}T06:00:00+00:00" for day in days]
    assert runs["score__household_lapse"] == []  # monthly, and no first of a month among them
    waiting = [name for name in runs if name.split("__")[0] in ("build_features", "train")]
    assert len(waiting) == 3
    assert all(runs[name] is None for name in waiting)


def test_every_task_keeps_the_policy(dag_bag):
    checked = 0
    for name, dag in dag_bag["dags"].items():
        for task_id, task in dag["tasks"].items():
            where = f"{name}.{task_id}"
            assert "@" in task["owner"], where
            assert task["retries"] >= 1, where
            assert task["backoff"], where
            assert task["timeout"], where
            assert task["alert"], where
            checked += 1
    assert checked >= 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_dag_file_is_short_and_builds_its_dags_by_name(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    for trick in ("globals(", "exec(", "eval(", "importlib", "glob(", "iterdir("):
        assert trick not in text
