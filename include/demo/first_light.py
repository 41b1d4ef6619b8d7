"""First light: the shop's database and the marketing files, read by Airflow, gated, on main in one commit."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from include.demo import landing, operational
from include.demo.airflow_api import ENDED, POLL_S, AirflowApi, AirflowError
from include.demo.complete_journey import WHOLE, Slice
from include.demo.progress import Progress
from include.demo.report import Report, RunLine, Stage, TaskLine, make_report, save_report, write_page
from include.lake import Lake
from include.settings import Settings

DAG = "ingest_batch__retail"
DATABASE, LANDING, STACK = "shop's database", "landing bucket", "stack"
ATTEMPTS = 100

# Starts the stack, tells of each server's steps, and returns when all are healthy.
Start = Callable[[Callable[[str, str], None]], object]


def run(start: Start, settings: Callable[[], Settings], progress: Progress, part: Slice = WHOLE) -> Report:
    """Do what of the demo is not done yet, and report all of it.

    Args:
        start: Brings the stack up.
        settings: Asked once PostgreSQL answers; not before, since the stack writes them.
        progress: Told of every step.
        part: How much of the data.

    Raises:
        HeadraceError: A step failed; what was done is kept, and running again goes on from there.
    """
    began_at, began = time.time(), time.monotonic()
    stages = _Preparation(start, settings, progress, part).run()
    with AirflowApi(settings()) as api:
        with _timed(stages, DAG, progress) as said:
            run_id, already = _ingest(api, part, progress)
            said.append("was run before" if already else "done")
        line = _line(api, run_id)
    report = make_report(
        settings(),
        runs=[line],
        stages=stages,
        seconds=time.monotonic() - began,
        began=began_at,
        already=already,
    )
    save_report(settings(), report)
    write_page(settings(), report)
    return report


def _line(api: AirflowApi, run_id: str) -> RunLine:
    """The run for the report, from its first task's start to its last task's end."""
    tasks = tuple(
        TaskLine(task.name, task.state, task.started, task.ended, None, None)
        for task in api.tasks(DAG, run_id)
    )
    started = min((task.started for task in tasks if task.started is not None), default=None)
    ended = max((task.ended for task in tasks if task.ended is not None), default=None)
    url = f"{api.url}/dags/{DAG}/runs/{run_id}"
    return RunLine(DAG, run_id, "success", "first", started, ended, "", (), url, tasks)


class _Preparation:
    """Stack, database and landing bucket: the shop is loaded while Airflow still starts."""

    def __init__(
        self, start: Start, settings: Callable[[], Settings], progress: Progress, part: Slice
    ) -> None:
        self.start, self.settings, self.progress, self.part = start, settings, progress, part
        self.stages: list[Stage] = []
        self.healthy = {name: threading.Event() for name in ("postgres", "seaweedfs")}
        self.failed = threading.Event()

    def run(self) -> list[Stage]:
        """All stages, in the order in which they ended."""
        with ThreadPoolExecutor(3) as workers:
            pending = [
                workers.submit(self._bring_up),
                workers.submit(self._after, "postgres", self._load),
                workers.submit(self._after, "seaweedfs", self._drop),
            ]
            for future in pending:
                future.result()
        Lake.prepare(self.settings())
        return self.stages

    def _bring_up(self) -> None:
        try:
            with _timed(self.stages, STACK, self.progress) as said:
                self.start(self._heard)
                said.append("all servers are healthy")
        except BaseException:
            self.failed.set()
            raise
        finally:
            for event in self.healthy.values():
                event.set()

    def _heard(self, server: str, step: str) -> None:
        self.progress.step(STACK, f"{server}: {step}")
        if step == "healthy" and server in self.healthy:
            self.healthy[server].set()

    def _after(self, server: str, step: Callable[[], None]) -> None:
        self.healthy[server].wait()
        if not self.failed.is_set():
            step()

    def _load(self) -> None:
        with _timed(self.stages, DATABASE, self.progress) as said:
            dsn = self.settings().retail_dsn.get_secret_value()
            loaded = operational.load(dsn, self.part, _counted(self.progress, DATABASE))
            rows = f"{sum(loaded.rows.values()):,} rows in {len(loaded.rows)} tables"
            said.append(f"{rows}{', loaded before' if loaded.already else ''}")

    def _drop(self) -> None:
        with _timed(self.stages, LANDING, self.progress) as said:
            dropped = landing.drop(self.settings(), self.part, _counted(self.progress, LANDING))
            said.append(f"{dropped.files} weekly files{', dropped before' if dropped.already else ''}")


def _ingest(api: AirflowApi, part: Slice, progress: Progress) -> tuple[str, bool]:
    """The id of the run that ingested this part, and whether it was over before."""
    progress.step(DAG, "waiting for Airflow to read the DAG")
    api.await_dag(DAG)
    for attempt in range(1, ATTEMPTS):
        run_id = f"demo__{part.name}" + (f"__{attempt}" if attempt > 1 else "")
        state = api.run_state(DAG, run_id)
        if state == "success":
            return run_id, True
        if state == "failed":
            continue
        if state is None:
            api.trigger(DAG, run_id)
        _watch(api, run_id, progress)
        return run_id, False
    raise AirflowError(f"{ATTEMPTS} runs of {DAG} failed.", remedy=f"See them at {api.url}/dags/{DAG}/runs.")


def _watch(api: AirflowApi, run_id: str, progress: Progress) -> None:
    """Wait for the run to end.

    Raises:
        AirflowError: It failed; carries what its tasks said.
    """
    while (state := api.run_state(DAG, run_id)) not in ENDED:
        for task in api.tasks(DAG, run_id):
            _tell(progress, task.name, task.state, task.seconds)
        time.sleep(POLL_S)
    tasks = api.tasks(DAG, run_id)
    for task in tasks:
        _tell(progress, task.name, task.state, task.seconds)
    if state == "failed":
        failed = ", ".join(task.name for task in tasks if task.state == "failed")
        raise AirflowError(
            f"Run {run_id} of {DAG} failed at {failed}. Main is as it was.",
            remedy=f"See {api.url}/dags/{DAG}/runs/{run_id}, or `headrace lake refused`.",
        )


def _tell(progress: Progress, name: str, state: str, seconds: float | None) -> None:
    if state in ("success", "skipped", "failed", "upstream_failed"):
        progress.end(
            f"  {name}", f"{state}{f' in {seconds:.1f} s' if seconds else ''}", failed="failed" in state
        )
    elif state:
        progress.step(f"  {name}", state)


def _counted(progress: Progress, name: str) -> Callable[[str, int], None]:
    total = 0

    def count(what: str, rows: int) -> None:
        nonlocal total
        total += rows
        progress.step(name, f"{what}, {total:,} rows")

    return count


@contextmanager
def _timed(stages: list[Stage], name: str, progress: Progress) -> Iterator[list[str]]:
    """A stage of the report; the caller adds what came of it."""
    said: list[str] = []
    began = time.monotonic()
    progress.step(name, "")
    try:
        yield said
    except BaseException:
        progress.end(name, "failed", failed=True)
        raise
    stages.append(Stage(name, time.monotonic() - began, said[0]))
    progress.end(name, said[0])
