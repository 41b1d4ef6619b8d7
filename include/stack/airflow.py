"""Airflow: api-server, scheduler, dag-processor and triggerer over PostgreSQL, tasks in local processes.

Its DAGs are `dags/` of this repository, as one bundle whose root is the repository: so a DAG file imports
`include`, and `.airflowignore` there admits `dags/` only.
"""

import functools
import json
import math
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import include
from include.stack.health import answers
from include.stack.ports import LOOPBACK
from include.stack.postgres import NAME as POSTGRES
from include.stack.postgres import PostgresAccess
from include.stack.server import Server, StackError, inherited_environment, make_folder
from include.stack.state import AIRFLOW_USER, Credentials, write_private

API_SERVER, SCHEDULER = "airflow-api-server", "airflow-scheduler"
DAG_PROCESSOR, TRIGGERER = "airflow-dag-processor", "airflow-triggerer"
NAMES = (API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER)
PORT = ("HEADRACE_AIRFLOW_PORT", 8080)
PARALLELISM = 4
DATABASE = "airflow"

# Job types by which the components report in the table `job`.
_JOBS: Mapping[str, str] = {
    SCHEDULER: "SchedulerJob",
    DAG_PROCESSOR: "DagProcessorJob",
    TRIGGERER: "TriggererJob",
}
_HEARTBEAT_FRESH_S = 30


def repository_root() -> Path:
    """The folder that holds `dags/`, `plugins/` and `include/`."""
    return Path(include.__file__).resolve().parents[1]


def servers(
    folder: Path,
    port: int,
    database: PostgresAccess,
    credentials: Credentials,
    root: Path,
    started_at: Callable[[str], float],
) -> tuple[Server, ...]:
    """The four components; whichever starts first brings the tables up to date while the others wait.

    Args:
        folder: Holds logs of tasks, bundles and the password file.
        port: Of the api-server.
        database: Where the tables lie.
        credentials: Keys and the password of the one user.
        root: Of the bundle; holds `dags/`, `plugins/` and `.airflowignore`.
        started_at: When the process of a component was started, in seconds since 1970.
    """
    url = f"http://{LOOPBACK}:{port}"
    environment = _environment(folder, port, database, credentials, root)
    prepared = _Once(functools.partial(_prepare, folder, database, credentials, environment))
    api = Server(
        name=API_SERVER,
        command=_airflow("api-server"),
        environment=environment,
        folder=folder,
        url=url,
        # The one path that its access log leaves out.
        health=answers(f"{url}/api/v2/monitor/health"),
        after=(POSTGRES,),
        ports={PORT[0]: port},
        prepare=prepared,
    )
    return (api, *(_component(name, api, database, started_at) for name in _JOBS))


def _component(
    name: str, api: Server, database: PostgresAccess, started_at: Callable[[str], float]
) -> Server:
    flags = () if name == DAG_PROCESSOR else ("--skip-serve-logs",)
    return Server(
        name=name,
        command=_airflow(name.removeprefix("airflow-"), *flags),
        environment=api.environment,
        folder=api.folder,
        url="",
        health=_Heartbeat(database, _JOBS[name], functools.partial(started_at, name)),
        after=(POSTGRES,),
        prepare=api.prepare,
    )


def _airflow(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "include.stack.airflow_process", *arguments)


@dataclass
class _Once:
    """Runs a step for the first caller while the others wait for it; all of them see its failure."""

    step: Callable[[], None]
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: bool = False
    failure: StackError | None = None

    def __call__(self) -> None:
        with self.lock:
            if self.failure is not None:
                raise self.failure
            if self.done:
                return
            try:
                self.step()
            except StackError as error:
                self.failure = error
                raise
            self.done = True


@dataclass
class _Heartbeat:
    """Whether a component reported lately, as the process that was started last and not a killed one before.

    The tables are asked rather than the api-server: a component is well whether or not that one answers.
    """

    database: PostgresAccess
    job_type: str
    started_at: Callable[[], float]

    def __call__(self) -> bool:
        import psycopg

        query = (
            "SELECT 1 FROM job WHERE job_type = %s AND state = 'running' AND start_date >= to_timestamp(%s)"
            " AND latest_heartbeat > now() - make_interval(secs => %s)"
        )
        since = self.started_at()
        if since == math.inf:
            return False
        try:
            with psycopg.connect(self.database.dsn(DATABASE), connect_timeout=3) as connection:
                found = connection.execute(query, (self.job_type, since, _HEARTBEAT_FRESH_S))
                return found.fetchone() is not None
        except psycopg.Error:
            return False


def _prepare(
    folder: Path, database: PostgresAccess, credentials: Credentials, environment: Mapping[str, str]
) -> None:
    make_folder(folder)
    make_folder(_temporary(folder))
    write_private(_password_file(folder), json.dumps({AIRFLOW_USER: credentials.airflow_password}))
    _migrate(folder, database, environment)


def _migrate(folder: Path, database: PostgresAccess, environment: Mapping[str, str]) -> None:
    """Bring the tables to the installed version; skipped, to save seconds, when the last run left them so.

    Raises:
        StackError: `airflow db migrate` fails; carries its last lines.
    """
    import subprocess

    record = folder / "migrated.json"
    now = {"airflow": version("apache-airflow-core"), "revision": _revision(database)}
    if record.exists() and json.loads(record.read_text()) == now:
        return
    done = subprocess.run(
        _airflow("db", "migrate"),
        env={**inherited_environment(), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise StackError(f"The tables of Airflow could not be brought up to date:\n{lines}")
    write_private(record, json.dumps({**now, "revision": _revision(database)}))


def _revision(database: PostgresAccess) -> str:
    """The revision of the tables; empty where there are none."""
    import psycopg

    with psycopg.connect(database.dsn(DATABASE)) as connection:
        # Asked first, since a failing statement stands as an error in the log of PostgreSQL.
        if connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,):
            return ""
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def _password_file(folder: Path) -> Path:
    return folder / "simple_auth_manager_passwords.json"


def _temporary(folder: Path) -> Path:
    return folder / "tmp"


def _environment(
    folder: Path,
    port: int,
    database: PostgresAccess,
    credentials: Credentials,
    root: Path,
) -> dict[str, str]:
    bundle = {
        "name": "headrace",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(root)},
    }
    options = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": str(PARALLELISM),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_FOLDER": str(root / "dags"),
        "CORE__PLUGINS_FOLDER": str(root / "plugins"),
        "CORE__FERNET_KEY": credentials.airflow_fernet_key,
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{AIRFLOW_USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_password_file(folder)),
        "CORE__ALLOWED_DESERIALIZATION_CLASSES": "airflow.* include.spec.refs.* include.spec.verdict.*",
        "CORE__EXECUTION_API_SERVER_URL": f"http://{LOOPBACK}:{port}/execution/",
        "API__HOST": LOOPBACK,
        "API__PORT": str(port),
        "API__BASE_URL": f"http://{LOOPBACK}:{port}",
        "API__WORKERS": "1",
        "API__SECRET_KEY": credentials.airflow_api_secret,
        "API_AUTH__JWT_SECRET": credentials.airflow_jwt_secret,
        "DATABASE__SQL_ALCHEMY_CONN": database.dsn(DATABASE, scheme="postgresql+psycopg2"),
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC": database.dsn(DATABASE, scheme="postgresql+asyncpg"),
        "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(folder / "bundles"),
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        # A file that was changed is read at once all the same; this is for what it imports.
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
        # The largest lever on latency, of chained tasks most of all; 0.1 s would gain little more, and take a
        # fifth of a core from an idle machine.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
        # A killed scheduler's tasks are taken up after half a minute instead of five.
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return {
        "AIRFLOW_HOME": str(folder),
        # What a killed task leaves is found here by `maintain_lake`; in the system's folder nobody looks.
        "TMPDIR": str(_temporary(folder)),
        # Without it every task and parser would write its title over the mark by which we find it.
        "SPT_NOENV": "1",
        "MALLOC_ARENA_MAX": "2",
        "DO_NOT_TRACK": "1",
        **{f"AIRFLOW__{option}": value for option, value in options.items()},
    }
