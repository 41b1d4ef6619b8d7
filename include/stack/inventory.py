"""All servers of a stack, and which of them a choice needs."""

import math
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from signal import Signals

from include.stack import airflow, lake_server, mlflow_server, postgres, seaweedfs
from include.stack.server import Server, StackError
from include.stack.state import LAKE_BUCKET, LAKE_REPOSITORY, LANDING_BUCKET, MLFLOW_BUCKET, State
from include.stack.supervisor import Supervisor

# What a person may say for several servers at once.
GROUPS = {"airflow": airflow.NAMES}


def servers(state: State) -> dict[str, Server]:
    """Every server of the stack by name, in an order in which they could be started one by one."""
    home, ports, credentials = state.home, state.ports, state.credentials
    lake = lake_server.server(
        home / lake_server.NAME, ports[lake_server.PORT[0]], credentials.lakefs, state.s3
    )
    every = (
        postgres.server(home / postgres.NAME, state.postgres),
        seaweedfs.server(
            home / seaweedfs.NAME, ports, credentials.s3, (LAKE_BUCKET, LANDING_BUCKET, MLFLOW_BUCKET)
        ),
        replace(
            lake,
            settle=lambda: lake_server.ensure_repository(state.lake, LAKE_REPOSITORY, f"s3://{LAKE_BUCKET}"),
        ),
        mlflow_server.server(
            home / mlflow_server.NAME,
            ports[mlflow_server.PORT[0]],
            state.postgres,
            state.s3,
            MLFLOW_BUCKET,
            credentials.mlflow_flask_secret,
        ),
        *airflow.servers(
            home / "airflow",
            ports[airflow.PORT[0]],
            state.postgres,
            credentials,
            _bundle_root(),
            lambda name: _started_at(state, name),
        ),
    )
    return {server.name: server for server in every}


def _bundle_root() -> Path:
    """The folder whose `dags/` Airflow reads: this repository, or what `HEADRACE_DAGS_ROOT` says."""
    return Path(os.environ.get("HEADRACE_DAGS_ROOT") or airflow.repository_root()).absolute()


def _started_at(state: State, name: str) -> float:
    """When the supervisor started the process of server `name`, in seconds since 1970; never if not."""
    process = Supervisor(state).states().get(name)
    return process.started_at if process and process.pid else math.inf


def choose(every: dict[str, Server], names: Iterable[str]) -> dict[str, Server]:
    """The servers named, and all that they wait for; every server when none is named.

    Raises:
        StackError: There is no server of that name.
    """
    wanted = [server for name in names for server in GROUPS.get(name, (name,))] or list(every)
    chosen: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in every:
            raise StackError(
                f"There is no server named {name!r}.", remedy=f"Name some of: {', '.join([*every, *GROUPS])}."
            )
        chosen.add(name)
        wanted.extend(every[name].after)
    return {name: server for name, server in every.items() if name in chosen}


def stop_signals() -> dict[str, Signals]:
    """What asks each server to stop cleanly, where it is not SIGTERM; known without any state."""
    return {postgres.NAME: postgres.STOP_SIGNAL}
