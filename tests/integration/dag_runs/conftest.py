"""A shop, a lake and a registry for `dag.test()`: every DAG runs on real servers, without Airflow's own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from include.demo import landing, operational
from include.demo.airflow_api import _plain
from include.demo.complete_journey import Slice
from include.lake import Lake, publish, upload
from include.products import PRODUCTS
from include.registry.store import Registry
from include.settings import Settings
from include.sources.retail import SOURCE
from include.spec.refs import Published
from include.spec.verdict import Verdict
from include.stack import airflow
from include.stack.credentials import password
from include.stack.lake_server import LakeAccess
from include.stack.postgres import PostgresAccess
from include.stack.seaweedfs import S3Access
from tests.conftest import own_registry

PART = Slice(households=600, weeks=1)
PLANTED = Verdict(True, "planted", 1)
SHOP = "dag_runs"
AS_OF = "2017-11-01T12:00:00"
COUPON, LAPSE = PRODUCTS


@dataclass(frozen=True)
class Run:
    """How a run of a DAG ended.

    Args:
        run_id: Its id.
        state: Of the run.
        tasks: State by task; the instances of a mapped task are numbered.
        tries: How often each task was tried.
        values: What tasks pushed, as plain dictionaries, by `<task>.<key>`.
    """

    run_id: str
    state: str
    tasks: Mapping[str, str]
    tries: Mapping[str, int]
    values: Mapping[str, Any]


class Driver:
    """The process that runs the DAGs.

    Args:
        process: See `drive.py`.
        answers: File that its answers are read from.
        log: What it and Airflow print.
    """

    def __init__(self, process: subprocess.Popen[str], answers: Any, log: Path) -> None:
        self._process, self._answers, self._log = process, answers, log
        self.known = self._answer()

    def __call__(self, dag: str, **conf: Any) -> Run:
        assert self._process.stdin is not None
        print(json.dumps({"dag": dag, "conf": conf}), file=self._process.stdin, flush=True)
        told = self._answer()
        return Run(**{**told, "values": {key: _plain(value) for key, value in told["values"].items()}})

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            code = self._process.wait(30)
            pytest.fail(f"the driver ended with {code}: {self._log.read_text()[-3000:]}")
        return dict(json.loads(line))


@dataclass(frozen=True)
class World:
    """The servers of these tests, and what a test does with them.

    Args:
        settings: Of a shop, a lake and a registry.
        environment: The same for a process.
        lake: The lake.
        registry: The registry.
        run: Runs a DAG to its end.
    """

    settings: Settings
    environment: Mapping[str, str]
    lake: Lake
    registry: Registry
    run: Driver

    def shop(self, statement: str) -> None:
        """Run SQL on the shop and commit."""
        with psycopg.connect(self.settings.retail_dsn.get_secret_value()) as connection:
            connection.execute(statement)

    def headrace(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        command = [sys.executable, "-c", "from include.cli import app; app()", *arguments]
        return subprocess.run(
            command, env=dict(self.environment), capture_output=True, text=True, check=False, timeout=300
        )

    def plant(self, station: str, folder: Path, prefix: str, **metadata: str) -> Published:
        """Put a folder's files on main past all gates."""
        published = publish(
            self.lake,
            f"planted-{uuid4().hex[:8]}",
            station,
            write=lambda draft: upload(self.lake, draft, folder, prefix),
            audit=lambda _: PLANTED,
            message=f"Plant {prefix}",
            metadata=metadata,
        )
        assert isinstance(published, Published)
        assert published.changed
        return published


@pytest.fixture(scope="session")
def registry_url(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresAccess, seaweedfs: S3Access
) -> Iterator[str]:
    with own_registry(tmp_path_factory.mktemp("mlflow"), postgres, seaweedfs) as url:
        yield url


@pytest.fixture(scope="session")
def settings(
    postgres: PostgresAccess,
    seaweedfs: S3Access,
    lake_server: LakeAccess,
    registry_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Settings:
    """Of a shop with a slice of the real data, an empty lake and an empty registry."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        names = sql.Identifier(SHOP), sql.Identifier("retail")
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
    made = Settings(
        home=tmp_path_factory.mktemp("dag_runs") / "home",
        lakefs_endpoint=lake_server.endpoint,
        lakefs_access_key_id=lake_server.access_key_id,
        lakefs_secret_access_key=SecretStr(lake_server.secret_access_key),
        lake_repository=f"lake-{uuid4().hex[:12]}",
        lake_storage_namespace=f"s3://headrace-lake/{uuid4().hex}",
        s3_endpoint=seaweedfs.endpoint,
        s3_access_key_id=seaweedfs.access_key,
        s3_secret_access_key=SecretStr(seaweedfs.secret_key),
        landing_bucket=f"landing-{uuid4().hex[:12]}",
        mlflow_tracking_uri=registry_url,
        retail_dsn=SecretStr(postgres.dsn("retail", SHOP)),
        signing_key=SecretStr(password(64)),
    )
    made.home.mkdir(mode=0o700)
    operational.load(made.retail_dsn.get_secret_value(), PART)
    landing.drop(made, PART)
    return made


@pytest.fixture(scope="session")
def environment(settings: Settings) -> dict[str, str]:
    """What a process needs to have these settings and an Airflow of its own."""
    home = settings.home.parent / "airflow"
    foreign = ("AIRFLOW", "HEADRACE")
    given = {name: getattr(settings, name) for name in type(settings).model_fields}
    told = {
        f"HEADRACE_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in given.items()
    }
    bundle = {
        "name": "headrace",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(airflow.repository_root())},
    }
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(foreign)},
        **told,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(airflow.repository_root() / "dags"),
        "AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES": (
            "airflow.* include.spec.refs.* include.spec.verdict.*"
        ),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "PYTHONPATH": str(airflow.repository_root()),
    }


def outcomes(world: World) -> tuple[int, dict[str, Any]]:
    """Exit code of `headrace audit`, and what it says of each invariant."""
    done = world.headrace("audit", "--json")
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, {one["invariant"]: one for one in json.loads(done.stdout)}


@contextmanager
def driving(environment: Mapping[str, str], log: Path) -> Iterator[Driver]:
    """The process that runs DAGs, for as long as the block lasts."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "tests.integration.dag_runs.drive", str(writing)]
    with log.open("w") as told, os.fdopen(reading) as answers:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=airflow.repository_root(),
            stdin=subprocess.PIPE,
            stdout=told,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            text=True,
        )
        os.close(writing)
        try:
            yield Driver(process, answers, log)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def world(settings: Settings, environment: dict[str, str]) -> Iterator[World]:
    Path(environment["AIRFLOW_HOME"]).mkdir()
    lake, registry = Lake.prepare(settings), Registry.connect(settings)
    with driving(environment, settings.home.parent / "driver.log") as run:
        yield World(settings, environment, lake, registry, run)


@pytest.fixture
def refused_branches(world: World) -> Callable[[], set[str]]:
    """The branches that `headrace lake refused` lists."""

    def listed() -> set[str]:
        done = world.headrace("lake", "refused", "--json")
        assert done.returncode == 0, done.stderr
        return {one["branch"] for one in json.loads(done.stdout)}

    return listed


@pytest.fixture(scope="session")
def ingested(world: World) -> Run:
    return world.run(f"ingest_batch__{SOURCE.name}")


@pytest.fixture(scope="session")
def built(world: World, ingested: Run) -> Run:
    return world.run(f"build_features__{SOURCE.name}")


@pytest.fixture(scope="session")
def trained(world: World, built: Run) -> Run:
    return world.run(f"train__{LAPSE.name}", as_of=AS_OF)


@pytest.fixture(scope="session")
def scored(world: World, trained: Run) -> Run:
    return world.run(f"score__{LAPSE.name}", as_of=AS_OF)
