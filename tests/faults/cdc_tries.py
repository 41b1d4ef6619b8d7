"""Whole runs of a capture or of a staging, each in a process of its own that may die at a named point.

One process imports what a run needs, and forks for each try: a try costs what its work costs. Tries that
stage share that process's Spark, which waits between two calls whenever one is forked.
"""

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from include.settings import Settings
from include.spec.source import Source
from include.stack.java import java_home


@dataclass(frozen=True)
class Death:
    """Where a try is killed: around a call of a function.

    Args:
        where: The function: `module:name` or `module:Class.name`.
        after: Once it has returned, rather than before it begins.
        call: Which call of it, from 1.
        within_s: Not before and not after, but this long after it began, while it runs.
    """

    where: str
    after: bool = True
    call: int = 1
    within_s: float | None = None


@dataclass(frozen=True)
class Try:
    """One try of a run.

    Args:
        settings: Where lake and database are.
        source: What is captured.
        run_id: The run.
        death: Where it dies, if it does.
        stages: Whether it stages what was captured, rather than capture.
    """

    settings: Settings
    source: Source
    run_id: str
    death: Death | None = None
    stages: bool = False


@dataclass(frozen=True)
class Ended:
    """How a try ended.

    Args:
        killed: By SIGKILL, at its point.
        error: Traceback of what it raised; empty where it did not.
    """

    killed: bool = False
    error: str = ""


def run(asked: Try, spark: Any) -> None:
    """A whole run, safe to try again: it goes on where a try of the same run died."""
    from include.lake import Lake, publish
    from include.spec.refs import DraftRef
    from include.spec.verdict import Verdict

    lake = Lake.connect(asked.settings)

    def published(station: str, write: Callable[[DraftRef], object]) -> None:
        publish(lake, asked.run_id, station, write, lambda _: Verdict(True, "0" * 64, 1), station)

    if asked.stages:
        from include.features.staged import stage_source

        published(
            "stage", lambda draft: stage_source(lake, asked.settings, draft, asked.source, lambda: spark)
        )
        return
    from include.ingestion import cdc
    from include.ingestion.batch import Desk

    cdc.confirm(lake, asked.settings, asked.source)
    published("cdc", lambda draft: cdc.capture(Desk(lake, asked.settings, draft, asked.source)))
    cdc.confirm(lake, asked.settings, asked.source)


def serve(connection: Connection, home: Path) -> None:
    """Try each `Try` that is sent, and answer with an `Ended`, until None is sent.

    Args:
        connection: To who asks.
        home: A folder for Spark, which is started for the first try that stages.
    """
    for name in ("include.ingestion.cdc", "include.lake", "include.lake.publish", "pyarrow.parquet"):
        importlib.import_module(name)
    connection.send(None)
    with ExitStack() as held:
        spark = None
        while (asked := connection.recv()) is not None:
            if asked.stages and spark is None:
                spark = held.enter_context(_spark(home))
            child = os.fork()
            if child == 0:
                _answer(connection, asked, spark)
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status):
                assert os.WTERMSIG(status) == signal.SIGKILL, status
                connection.send(Ended(killed=True))


def _spark(home: Path) -> AbstractContextManager[Any]:
    from include.features.spark_jobs.session import spark_session

    for name in ("include.features.staged", "pyspark.sql.functions", "pyspark.sql.pandas.types"):
        importlib.import_module(name)
    return spark_session(Settings(home=home, java_home=str(java_home(home))))


def _answer(connection: Connection, asked: Try, spark: Any) -> None:
    """Try, answer and end this process, whatever happens."""
    try:
        if asked.death is not None:
            _arm(asked.death)
        run(asked, spark)
    finally:
        raised = sys.exc_info()[0] is not None
        connection.send(Ended(error=traceback.format_exc() if raised else ""))
        os._exit(0)


def _arm(death: Death) -> None:
    module, _, path = death.where.partition(":")
    owner: Any = importlib.import_module(module)
    *within, name = path.split(".")
    for each in within:
        owner = getattr(owner, each)
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def deadly(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < death.call:
            return real(*arguments, **options)
        if death.within_s is not None:
            threading.Timer(death.within_s, _die).start()
        if death.after or death.within_s is not None:
            real(*arguments, **options)
        return _die()

    setattr(owner, name, deadly)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
