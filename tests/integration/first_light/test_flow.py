"""First light on the whole stack: Airflow reads, judges and publishes, and refuses what is bad."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from include.demo.airflow_api import ENDED, AirflowApi
from include.demo.flow import INGEST as DAG
from include.demo.report.report import Report, load_report, page_path
from include.lake import Lake, find_published, read_watermark
from include.lake.history import log
from include.lake.retention import refused
from include.lake.tables import list_tables
from include.settings import STACK_ENV, Settings
from include.sources.retail import SOURCE
from tests.integration.first_light.conftest import PART

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

TABLES = {SOURCE.prefix(table.name) for table in SOURCE.tables}
RUN_WITHIN_S = 300
FOLLOWS = "build_features__retail"


@pytest.fixture(scope="module")
def settings(stack) -> Settings:
    return Settings(_env_file=stack.home / STACK_ENV, home=stack.home)  # type: ignore[call-arg]


def headrace(stack, *arguments: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")}
    command = [
        sys.executable,
        "-c",
        "from include.cli import app; app()",
        *arguments,
        "--home",
        str(stack.home),
    ]
    environment |= {"COLUMNS": "200", "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)


@pytest.fixture(scope="module")
def first(stack, settings):
    """Output of the first `headrace demo` on the slice; what follows an ingestion is kept from following."""
    with AirflowApi(settings) as client:
        client.await_dag(FOLLOWS)
        client.pause(FOLLOWS, paused=True)
    done = headrace(stack, "demo", "--households", str(PART.households), "--weeks", str(PART.weeks))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def lake(settings) -> Lake:
    return Lake.connect(settings)


@pytest.fixture
def api(settings):
    with AirflowApi(settings) as client:
        yield client


@pytest.fixture
def shop(settings):
    def run(statement: str) -> None:
        with psycopg.connect(settings.retail_dsn.get_secret_value()) as connection:
            connection.execute(statement)

    return run


def run_of(report: Report) -> str:
    """The one run that the report is about."""
    (line,) = report.runs
    return line.run_id


def run_dag(api: AirflowApi, run_id: str, conf: dict | None = None) -> dict[str, str]:
    """Trigger the DAG and wait; state of the run and of each task."""
    api.trigger(DAG, run_id, conf)
    deadline = time.monotonic() + RUN_WITHIN_S
    while (state := api.run_state(DAG, run_id)) not in ENDED:
        assert time.monotonic() < deadline, (
            f"{run_id} is {state} after {RUN_WITHIN_S} s: {api.tasks(DAG, run_id)}"
        )
        time.sleep(0.5)
    return {"run": state, **{task.name: task.state for task in api.tasks(DAG, run_id)}}


def test_the_demo_publishes_eight_tables_in_one_commit(first, lake, settings):
    report = load_report(settings.home)
    assert not report.already
    published = find_published(lake, run_of(report), DAG)
    assert published is not None
    assert published.changed
    history = list(log(lake))
    ours = [entry for entry in history if entry.record is not None and entry.record.run_id == run_of(report)]
    assert len(ours) == 1
    assert ours[0].commit == published.commit
    found = {table.table: table.rows for table in list_tables(lake, published.commit, "raw/retail")}
    assert set(found) == TABLES
    assert found["raw/retail/products"] == 92_331
    apart = {table.table: table.rows for table in list_tables(lake, published.commit, "quarantine")}
    assert set(apart) == {"quarantine/retail/transactions", "quarantine/retail/coupons"}
    assert found["raw/retail/coupons"] + apart["quarantine/retail/coupons"] == 116_204
    assert found["raw/retail/promotions"] == 741_330
    assert read_watermark(lake, published.commit, "retail") is not None


def test_the_commit_carries_run_suites_verdict_and_code(first, lake, settings):
    record = next(log(lake, load_report(settings.home).commits[0].commit, limit=1)).record
    assert record is not None
    assert record.station == DAG
    assert len(record.suite_hash) == 64
    assert record.checked >= 70
    assert record.verdict.passed
    assert record.code_version


def test_the_report_names_tables_commit_verdict_and_addresses(first, settings):
    report = load_report(settings.home)
    (line, _) = report.commits
    assert line.run_id == run_of(report)
    for words in [
        *TABLES,
        line.commit[:12],
        line.verdict,
        settings.airflow_url,
        settings.mlflow_tracking_uri,
    ]:
        assert words in first
    assert settings.lakefs_endpoint in first
    assert "rows broke the contract of their table and went apart: " in first
    assert line.verdict.startswith("passed, ")
    assert {task.task for task in report.runs[0].tasks} >= {"open_draft", "land retail", "gate", "publish"}
    assert [product.champion for product in report.products] == [None, None]
    page = page_path(settings.home)
    assert page.as_uri() in first
    assert line.commit in page.read_text()


def test_no_measured_task_took_two_gigabytes(first, settings):
    (run,) = load_report(settings.home).runs
    measured = [task.peak_memory_bytes for task in run.tasks if task.peak_memory_bytes]
    assert len(measured) == 5
    assert max(measured) < 2e9


def test_a_second_demo_does_nothing_and_says_so(first, stack, lake, settings):
    head = lake.head()
    done = headrace(stack, "demo", "--households", str(PART.households), "--weeks", str(PART.weeks))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing was left to do" in done.stdout
    assert lake.head() == head
    again = headrace(stack, "report")
    assert again.returncode == 0
    assert "Nothing was left to do" in again.stdout


def test_a_run_over_an_unchanged_source_publishes_nothing(first, api, lake):
    head = lake.head()
    states = run_dag(api, "unchanged")
    assert (states["run"], states["gate"], states["publish"]) == ("success", "success", "skipped")
    assert lake.head() == head


def test_a_dry_run_publishes_nothing(first, api, lake, shop):
    head = lake.head()
    shop("UPDATE products SET brand = 'Private' WHERE product_id = (SELECT min(product_id) FROM products)")
    states = run_dag(api, "dry", {"dry_run": True})
    assert (states["run"], states["publish"], states["refuse"]) == ("success", "skipped", "skipped")
    assert lake.head() == head


def test_a_bad_batch_is_refused_and_main_stays_and_the_good_one_passes(first, api, lake, settings, shop):
    head = lake.head()
    shop("UPDATE campaign_descriptions SET campaign_type = 'Type X' WHERE campaign_id = 1")
    states = run_dag(api, "bad")
    assert (states["run"], states["publish"], states["refuse"]) == ("failed", "skipped", "failed")
    assert lake.head() == head
    (kept,) = [one for one in refused(lake) if one.run_id == "bad"]
    assert [finding.rule for finding in kept.verdict.findings if finding.severity == "fail"] == [
        "expect_column_values_to_be_in_set(campaign_type)"
    ]
    assert find_published(lake, "bad", DAG) is None
    # Whoever looks in the UI finds the verdict in XCom, and whoever answers for the data has an alert.
    judged = api.xcom(DAG, "bad", "gate", "judged")
    assert judged["verdict"]["passed"] is False
    assert any("Type X" in finding["observed"] for finding in judged["verdict"]["findings"])
    alerts = [json.loads(line) for line in (settings.home / "alerts.jsonl").read_text().splitlines()]
    (alert,) = [one for one in alerts if one["run"] == "bad"]
    assert (alert["owner"], alert["task"]) == (SOURCE.owner, "refuse")
    assert "Main is as it was" in alert["error"]

    shop("UPDATE campaign_descriptions SET campaign_type = 'Type B' WHERE campaign_id = 1")
    assert run_dag(api, "mended")["run"] == "success"
    assert lake.head() != head  # the brand that the dry run left behind


def test_a_type_that_changed_stops_the_run_at_once_and_main_stays(first, api, lake, settings, shop):
    head = lake.head()
    shop("ALTER TABLE demographics ALTER COLUMN household_id TYPE bigint")
    try:
        states = run_dag(api, "type-changed")
    finally:
        shop("ALTER TABLE demographics ALTER COLUMN household_id TYPE integer")
    assert (states["run"], states["land retail"], states["gate"]) == ("failed", "failed", "upstream_failed")
    assert lake.head() == head
    alerts = [json.loads(line) for line in (settings.home / "alerts.jsonl").read_text().splitlines()]
    (alert,) = [one for one in alerts if one["run"] == "type-changed"]
    assert "column 'household_id' is bigint, declared is int32. Accepted: integer" in alert["error"]


def test_no_secret_is_in_xcom_task_logs_alerts_or_the_report(first, api, stack, settings):
    secrets = stack.credentials.secret_values()
    assert len(secrets) > 5
    looked = 0
    for run_id in ("bad", "type-changed", run_of(load_report(settings.home))):
        for task, key, index in [
            *(("open_draft", "return_value", -1), ("land", "return_value", 0), ("land", "return_value", 1)),
            *(("gate", "judged", -1), ("publish", "published", -1), ("refuse", "refused", -1)),
        ]:
            value = json.dumps(api.xcom(DAG, run_id, task, key, index))
            looked += value != "null"
            assert [secret for secret in secrets if secret in value] == []
    files = [*(settings.home / "airflow" / "logs").rglob("*.log"), settings.home / "alerts.jsonl"]
    files.append(settings.home / "reports" / "demo.json")
    for path in files:
        text = path.read_text(errors="replace")
        assert [path for secret in secrets if secret in text] == []
    assert looked >= 8
    assert len(files) > 10
