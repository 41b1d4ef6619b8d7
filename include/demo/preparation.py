"""What is there before Airflow begins: the stack, the shop's database, and the landing bucket."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from include.demo import landing, operational
from include.demo.complete_journey import Slice
from include.demo.progress import Progress
from include.demo.report.lines import Stage
from include.lake import Lake
from include.settings import Settings

DATABASE, LANDING, STACK = "shop's database", "landing bucket", "stack"

# Starts the stack, tells of each server's steps, and returns when all are healthy.
Start = Callable[[Callable[[str, str], None]], object]


class Preparation:
    """Stack, database and landing bucket: the shop is loaded while Airflow still starts.

    Args:
        start: Brings the stack up.
        settings: Asked once PostgreSQL answers; not before, since the stack writes them.
        progress: Told of every step.
        part: How much of the data.
    """

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
            with timed(self.stages, STACK, self.progress) as said:
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
        with timed(self.stages, DATABASE, self.progress) as said:
            dsn = self.settings().retail_dsn.get_secret_value()
            loaded = operational.load(dsn, self.part, _counted(self.progress, DATABASE))
            rows = f"{sum(loaded.rows.values()):,} rows in {len(loaded.rows)} tables"
            said.append(f"{rows}{', loaded before' if loaded.already else ''}")

    def _drop(self) -> None:
        with timed(self.stages, LANDING, self.progress) as said:
            dropped = landing.drop(self.settings(), self.part, _counted(self.progress, LANDING))
            said.append(f"{dropped.files} weekly files{', dropped before' if dropped.already else ''}")


def _counted(progress: Progress, name: str) -> Callable[[str, int], None]:
    total = 0

    def count(what: str, rows: int) -> None:
        nonlocal total
        total += rows
        progress.step(name, f"{what}, {total:,} rows")

    return count


@contextmanager
def timed(stages: list[Stage], name: str, progress: Progress) -> Iterator[list[str]]:
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
