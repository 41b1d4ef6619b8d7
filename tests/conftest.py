"""Real servers for the tests: each is started once per session, on free ports, in a folder of its own."""

import dataclasses
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from include.stack import lake_server as lake
from include.stack import mlflow_server as tracking
from include.stack import postgres as pg
from include.stack import seaweedfs as weed
from include.stack import start
from include.stack.credentials import KeyPair, password
from include.stack.ports import free_ports
from include.stack.server import running
from include.stack.state import State

AIRFLOWS = "airflow"
AIRFLOW = {
    "tests/faults/test_airflow_kills.py",
    "tests/faults/test_stack.py",
    "tests/integration/first_light/test_flow.py",
    "tests/integration/flow",
    "tests/integration/stack",
}
# They share an MLflow, which takes ten CPU seconds to start.
REGISTRY = {"tests/integration/audit", "tests/integration/registry"}
# Groups that take minutes; what begins last should be short, or one process waits for the other in the end.
LONG = (AIRFLOWS, "tests/integration/staged", "tests/integration/dag_runs", "tests/integration/cdc")
# What stops the whole stack.
STACK = pytest.StashKey[ExitStack]()
LAKE_BUCKET = "headrace-lake"
LANDING_BUCKET = "headrace-landing"
MLFLOW_BUCKET = "headrace-mlflow"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let SIGTERM, which a time limit sends, end the run as Ctrl-C does; give the run a folder and a width.

    All runs of a user share one folder by default, and each that starts takes everyone else's right to pass
    through it: PostgreSQL, which runs as a user of its own under root, would lose its data in mid-flight.
    A console keeps the width that it finds when its module is imported, by whichever test comes first; so all
    get one that cuts no name.
    """
    os.environ["COLUMNS"] = "200"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if config.option.basetemp is None:
        folder = Path(tempfile.mkdtemp(prefix="headrace-tests-"))
        config.option.basetemp = folder / "run"
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Spread the tests over processes in groups that share their servers, or their fixtures."""
    from xdist.scheduler import LoadScopeScheduling

    class ByServers(LoadScopeScheduling):  # type: ignore[misc]  # untyped
        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid)

    return ByServers(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of a group in a row, and the groups that take longest first."""
    order = {group: number for number, group in enumerate(LONG)}
    for item in items:
        order.setdefault(together(item.nodeid), len(order))
    items.sort(key=lambda item: order[together(item.nodeid)])


def together(nodeid: str) -> str:
    """The group of a test: its folder of integration tests, or its file.

    All that start Airflow are one group: two at a time would be too much for a small machine.
    """
    path, _, _ = nodeid.partition("::")
    folder, _, _ = path.rpartition("/")
    if folder in AIRFLOW or path in AIRFLOW:
        return AIRFLOWS
    if folder in REGISTRY:
        return "registry"
    return folder if folder.startswith(("tests/integration", "tests/faults")) else path


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pg.PostgresAccess]:
    """PostgreSQL with a database for each role; `.dsn(role, database)` gives an address."""
    access = pg.PostgresAccess(free_ports(1)[0], {role: password() for role in pg.ROLES})
    with running(pg.server(tmp_path_factory.mktemp("postgres"), access)):
        yield access


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[weed.S3Access]:
    """An S3 store with the buckets of the lake, of the landing zone and of MLflow."""
    ports = dict(zip(weed.PORTS, free_ports(len(weed.PORTS)), strict=True))
    keys = KeyPair.generate()
    folder = tmp_path_factory.mktemp("seaweedfs")
    with running(weed.server(folder, ports, keys, (LAKE_BUCKET, LANDING_BUCKET, MLFLOW_BUCKET))) as server:
        yield weed.S3Access(server.url, keys)


@pytest.fixture(scope="session")
def lake_server(
    tmp_path_factory: pytest.TempPathFactory, seaweedfs: weed.S3Access
) -> Iterator[lake.LakeAccess]:
    """The lake server over the session's S3 store; no repository in it."""
    keys = KeyPair.generate()
    folder = tmp_path_factory.mktemp("lakefs")
    with running(lake.server(folder, free_ports(1)[0], keys, seaweedfs)) as server:
        yield lake.LakeAccess(server.url, keys)


@pytest.fixture(scope="session")
def lake_server_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lake.LakeAccess]:
    """The lake server over a local folder; no repository in it."""
    keys = KeyPair.generate()
    folder = tmp_path_factory.mktemp("lakefs-local")
    with running(lake.server(folder, free_ports(1)[0], keys, None)) as server:
        yield lake.LakeAccess(server.url, keys)


@pytest.fixture(scope="session")
def mlflow(
    tmp_path_factory: pytest.TempPathFactory, postgres: pg.PostgresAccess, seaweedfs: weed.S3Access
) -> Iterator[str]:
    """MLflow over the session's PostgreSQL and S3 store; its address. All tests register in the one."""
    folder = tmp_path_factory.mktemp("mlflow")
    described = tracking.server(folder, free_ports(1)[0], postgres, seaweedfs, MLFLOW_BUCKET, password(64))
    with running(described) as server:
        yield server.url


@contextmanager
def own_registry(folder: Path, postgres: pg.PostgresAccess, seaweedfs: weed.S3Access) -> Iterator[str]:
    """An MLflow that no other test registers in, on SQLite in the folder: for who audits all there is."""
    described = tracking.server(folder, free_ports(1)[0], postgres, seaweedfs, MLFLOW_BUCKET, password(64))
    database = f"sqlite:///{folder}/mlflow.db"
    own = {"_MLFLOW_SERVER_FILE_STORE": database, "_MLFLOW_SERVER_REGISTRY_STORE": database}
    with running(dataclasses.replace(described, environment={**described.environment, **own})) as server:
        yield server.url


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """The whole stack under its supervisor, Airflow included; `.home` is its `HEADRACE_HOME`.

    `.client_environment()` holds what clients need, `.postgres`, `.s3` and `.lake` say how each is reached.
    """
    home = tmp_path_factory.mktemp("stack") / "home"
    with ExitStack() as stopping:
        pytestconfig.stash[STACK] = stopping
        stopping.callback(start.down, home)
        yield start.up(home, choose_free_ports=True, timeout_s=300)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the whole stack after the last test that wants it: it takes a part of a core even when idle."""
    if nextitem is not None and together(nextitem.nodeid) != AIRFLOWS:
        item.config.stash.get(STACK, ExitStack()).close()
