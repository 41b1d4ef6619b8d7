"""The whole stack, started once: what is in it, how it is reached, and what it keeps to itself."""

import base64
import json
import re
import stat
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from typer.testing import CliRunner

from include.cli import app
from include.stack import airflow, processes, start
from include.stack.ports import LOOPBACK
from include.stack.state import State
from include.stack.status import status

pytestmark = pytest.mark.integration

SERVERS = [
    "postgres",
    "seaweedfs",
    "lakefs",
    "mlflow",
    "airflow-api-server",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
]


def call(url: str, method: str = "GET", body: object = None, token: str = "") -> tuple[int, str]:
    """Status and text of an HTTP call."""
    sent = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    headers = {"Authorization": token} if token else {}
    answer = httpx.request(method, url, headers=headers, timeout=30, trust_env=False, **sent)
    return answer.status_code, answer.text


def airflow_token(stack: State, password: str) -> tuple[int, str]:
    url = f"{stack.url('HEADRACE_AIRFLOW_PORT')}/auth/token"
    return call(url, "POST", {"username": "admin", "password": password})


def test_every_server_is_healthy_within_the_memory_promised(stack: State) -> None:
    rows = status(stack.home)
    assert [row.name for row in rows] == SERVERS
    assert {row.name: row.state for row in rows} == dict.fromkeys(SERVERS, "healthy")
    assert all(row.pid and row.memory_bytes and row.uptime_s > 0 for row in rows)
    total = sum(row.memory_bytes for row in rows)
    assert 500 * 2**20 < total < 3 * 2**30, {row.name: row.memory_bytes >> 20 for row in rows}


def test_up_again_changes_nothing(stack: State) -> None:
    before = {row.name: row.pid for row in status(stack.home)}
    again = start.up(stack.home)
    assert again.ports == stack.ports
    assert {row.name: row.pid for row in status(stack.home)} == before


def test_airflow_takes_the_generated_password_only(stack: State) -> None:
    code, text = airflow_token(stack, stack.credentials.airflow_password)
    assert code == 201, text
    token = f"Bearer {json.loads(text)['access_token']}"
    url = f"{stack.url('HEADRACE_AIRFLOW_PORT')}/api/v2/dags"
    assert call(url, token=token)[0] == 200
    assert call(url)[0] == 401
    assert airflow_token(stack, "wrong")[0] == 401


def test_mlflow_stores_artifacts_and_refuses_a_foreign_model_source(stack: State) -> None:
    url = stack.url("HEADRACE_MLFLOW_PORT")
    api = f"{url}/api/2.0/mlflow"
    artifact = f"{url}/api/2.0/mlflow-artifacts/artifacts/probe/file.txt"
    assert call(artifact, "PUT", b"kept")[0] == 200
    assert call(artifact) == (200, "kept")
    assert call(f"{api}/registered-models/create", "POST", {"name": "probe"})[0] == 200
    for source in (
        "/etc",
        "file:///etc",
        "s3://elsewhere/model",
        "mlflow-artifacts://host/x",
        "http://host/x",
    ):
        code, text = call(f"{api}/model-versions/create", "POST", {"name": "probe", "source": source})
        assert (code, json.loads(text)["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), source


def test_the_lake_has_its_repository_and_main_changes_by_merges_only(stack: State) -> None:
    keys = f"{stack.lake.access_key_id}:{stack.lake.secret_access_key}"
    token = "Basic " + base64.b64encode(keys.encode()).decode()
    repository = f"{stack.lake.endpoint}/api/v1/repositories/lake"
    code, text = call(repository, token=token)
    assert code == 200, text
    assert json.loads(text)["storage_namespace"] == "s3://headrace-lake"
    written = call(f"{repository}/branches/main/objects?path=x", "POST", b"x", token=token)
    assert written[0] == 403, written
    commit = call(f"{repository}/branches/main/commits", "POST", {"message": "no"}, token=token)
    assert commit[0] == 403, commit


def test_clients_read_stack_env(stack: State, monkeypatch: pytest.MonkeyPatch) -> None:
    from include.settings import settings

    for name in stack.client_environment():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADRACE_HOME", str(stack.home))
    settings.cache_clear()
    read = settings()
    settings.cache_clear()
    assert read.s3_endpoint == stack.s3.endpoint
    with psycopg.connect(read.retail_dsn.get_secret_value()) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("retail",)


def test_every_process_is_found_by_its_mark_and_listens_on_loopback_only(stack: State) -> None:
    found = processes.marked(stack.home)
    supervisord = next(process for process, name in found if name == "supervisord")
    tree = {supervisord.pid, *(child.pid for child in supervisord.children(recursive=True))}
    assert len(tree) > len(SERVERS)
    assert tree - {process.pid for process, _ in found} == set()
    everything = psutil.net_connections("inet")
    listening = [tuple(c.laddr) for c in everything if c.pid in tree and c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 13, "ten of the store, and four servers"
    # Another address would be open to the network; another port would be one that no variable moves.
    assert set(listening) == {(LOOPBACK, port) for port in stack.ports.values()}


def test_the_processes_of_tasks_hold_the_libraries_that_many_want_and_no_engine(stack: State) -> None:
    (scheduler,) = [row.pid for row in status(stack.home) if row.name == airflow.SCHEDULER]
    children = psutil.Process(scheduler).children()
    workers = [child for child in children if "LocalExecutor" in " ".join(child.cmdline())]
    assert len(workers) == airflow.PARALLELISM
    for worker in workers:
        mapped = Path(f"/proc/{worker.pid}/maps").read_text()
        # Of pyarrow, and of Great Expectations and MLflow.
        assert all(library in mapped for library in ("libarrow", "scipy", "polars"))
        assert not any(engine in mapped for engine in ("duckdb", "xgboost", "libtorch", "onnxruntime"))


def test_no_secret_on_a_command_line_or_in_a_log(stack: State) -> None:
    secrets = stack.credentials.secret_values()
    assert len(secrets) == len(set(secrets)) == 14
    commands = [" ".join(process.cmdline()) for process, _ in processes.marked(stack.home)]
    assert len(commands) > len(SERVERS)
    logs = [path for path in stack.home.rglob("*.log*") if path.is_file() and "data" not in path.parts]
    assert {f"{name}.log" for name in SERVERS} <= {path.name for path in logs}
    for text in [*commands, *(path.read_text(errors="replace") for path in logs)]:
        assert not any(secret in text for secret in secrets)


def test_what_is_secret_is_readable_by_its_owner_only(stack: State) -> None:
    private = [stack.home / name for name in ("stack.env", "stack.json", "credentials.json")]
    private += (stack.home / "run").iterdir()
    assert len(private) > len(SERVERS)
    for path in private:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    for folder in ("run", "log", "postgres", "seaweedfs", "lakefs", "mlflow", "airflow"):
        assert stat.S_IMODE((stack.home / folder).stat().st_mode) == 0o700, folder


def test_the_commands_show_it(stack: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(stack.home))
    shown = CliRunner().invoke(app, ["status"], env={"COLUMNS": "160"})
    assert shown.exit_code == 0
    assert all(re.search(rf"{name}.*healthy", shown.stdout) for name in SERVERS)
    rows = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    assert [row["name"] for row in rows] == SERVERS
    log = CliRunner().invoke(app, ["logs", "postgres", "-n", "500"])
    assert "database system is ready to accept connections" in log.stdout
    unknown = CliRunner().invoke(app, ["logs", "oracle"])
    assert unknown.exit_code == 1
    assert "no server named 'oracle'" in unknown.stderr
    assert "airflow-triggerer" in unknown.stderr


def test_status_of_a_folder_without_a_stack(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["status", "--home", str(tmp_path)])
    assert shown.exit_code == 3
    assert "No stack was ever started here" in shown.stdout
