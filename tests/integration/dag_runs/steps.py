"""The steps of the flows, each try in a process of its own that may die at a named point.

One process imports what the steps import, and forks for each try: a try costs what its work costs.
"""

import importlib
import inspect
import os
import signal
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

IMPORTED = (
    *("include.orchestration.features", "include.orchestration.ingest", "include.orchestration.monitoring"),
    *("include.orchestration.scoring", "include.orchestration.training", "include.orchestration.lineage"),
    *("include.ingestion.batch", "include.features.build", "include.lake", "include.registry.store"),
    *("include.evaluation.gate", "include.serving.batch", "include.validation.draft"),
    *("include.monitoring.drift", "mlflow.pyfunc", "duckdb", "pyarrow.parquet", "xgboost", "onnxruntime"),
    *("great_expectations", "dbt.cli.main"),
)


@dataclass(frozen=True)
class Step:
    """One step of a flow, as Airflow's task calls it.

    Args:
        kind: Class of the steps, such as `include.orchestration.training:Training`.
        about: Name of the source or product.
        name: The method.
        run_id: Run of the DAG.
        arguments: What earlier steps returned or pushed.
        as_of: The form's moment.
        cleared: How often a person has cleared the run.
    """

    kind: str
    about: str
    name: str
    run_id: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    as_of: str | None = None
    cleared: int = 0


@dataclass(frozen=True)
class Death:
    """Where a try is killed: around a call of a function.

    Args:
        where: The function: `module:name` or `module:Class.name`.
        after: Once it has returned, rather than before it begins.
    """

    where: str
    after: bool = True


@dataclass(frozen=True)
class Done:
    """How a try ended.

    Args:
        killed: By SIGKILL, at its point.
        returned: What the step returned.
        pushed: What it pushed.
        error: Traceback of what it raised; empty where it did not.
    """

    killed: bool = False
    returned: Any = None
    pushed: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


def serve(connection: Connection, environment: Mapping[str, str]) -> None:
    """Try each `(step, death)` that is sent, and answer with a `Done`, until None is sent."""
    os.environ.clear()
    os.environ.update(environment)
    for name in IMPORTED:
        importlib.import_module(name)
    connection.send(None)
    while (asked := connection.recv()) is not None:
        child = os.fork()
        if child == 0:
            _answer(connection, *asked)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL, status
            connection.send(Done(killed=True))


def _answer(connection: Connection, step: Step, death: Death | None) -> None:
    """Try, answer and end this process, whatever happens."""
    done = Done()
    try:
        done = _tried(step, death)
    finally:
        raised = sys.exc_info()[0] is not None
        connection.send(replace(done, error=traceback.format_exc()) if raised else done)
        os._exit(0)


def _tried(step: Step, death: Death | None) -> Done:
    from airflow.sdk.execution_time.context import set_current_context

    if death is not None:
        _arm(death)
    pushed: dict[str, Any] = {}
    form = {"as_of": step.as_of}
    context: Any = {
        "ti": SimpleNamespace(xcom_push=pushed.__setitem__),
        "params": form,
        "dag_run": SimpleNamespace(run_type="manual", clear_number=step.cleared),
        "outlet_events": defaultdict(lambda: SimpleNamespace(extra={})),
    }
    with set_current_context(context):
        method = _method(step)
        known = {"run_id": step.run_id, "params": form}
        wanted = inspect.signature(method).parameters
        given = {name: value for name, value in known.items() if name in wanted}
        return Done(returned=method(**step.arguments, **given), pushed=pushed)


def _method(step: Step) -> Callable[..., Any]:
    from include.products import product_named
    from include.sources import SOURCES

    module, _, name = step.kind.partition(":")
    sources = {source.name: source for source in SOURCES}
    subject = sources.get(step.about) or product_named(step.about)
    method: Callable[..., Any] = getattr(getattr(sys.modules[module], name)(subject), step.name)
    return method


def _arm(death: Death) -> None:
    """Let the function kill this process, before or after it did what it does."""
    module, _, path = death.where.partition(":")
    importlib.import_module(module)
    owner: Any = sys.modules[module]
    *within, name = path.split(".")
    for each in within:
        owner = getattr(owner, each)
    real = getattr(owner, name)

    def deadly(*arguments: Any, **options: Any) -> Any:
        if death.after:
            real(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, deadly)
