"""The whole flow on real data: one ingestion is triggered, and Airflow does the rest by itself.

It is played in two acts. In the first, it is 2 November 2017: what was ingested is built into features, each
product trains on what was known that day, and a champion that passed its gate is released, scores what is
open, and is watched. In the second, the year has passed and the truths have matured: monitoring judges those
predictions, and where it asks for a retraining, a challenger meets the champion.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from include.demo.airflow_api import ENDED, AirflowApi, AirflowError, DagRun, TaskState
from include.demo.chain import Chain, Link
from include.demo.complete_journey import WHOLE, Slice
from include.demo.preparation import Preparation, Start, timed
from include.demo.progress import Progress
from include.demo.report.lines import RunLine, Stage, TaskLine
from include.demo.report.report import Report, make_report, save_report, write_page
from include.orchestration import journal
from include.products import PRODUCTS
from include.settings import Settings
from include.spec.refs import AS_OF

SOURCE = "retail"
INGEST, BUILD = f"ingest_batch__{SOURCE}", f"build_features__{SOURCE}"
STATIONS = ("train", "score", "monitor")
FOLLOWING = (BUILD, *(f"{station}__{product.name}" for product in PRODUCTS for station in STATIONS))
# The morning after the close of 1 November, when the truths of many campaigns are still to come.
FIRST_MOMENT = "2017-11-02T06:00:00"
ATTEMPTS = 100
AUDIT = "audit"


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
    stages = Preparation(start, settings, progress, part).run()
    with AirflowApi(settings()) as api:
        play = _Play(api, part, progress, stages)
        first = play.first_act()
        later = play.later_act(first)
    known = settings()
    with timed(stages, AUDIT, progress) as said:
        audited = _audit(known)
        said.append(f"{len(audited)} invariants, {sum(broken for *_, broken in audited)} violations")
    report = make_report(
        known,
        runs=_lines(known, first, "first") + _lines(known, later, "later"),
        stages=stages,
        seconds=time.monotonic() - began,
        began=began_at,
        already=not play.worked,
        audit=audited,
    )
    save_report(known, report)
    write_page(known, report)
    return report


@dataclass
class _Play:
    """The two acts, and whether anything was left to do in them."""

    api: AirflowApi
    part: Slice
    progress: Progress
    stages: list[Stage]
    worked: bool = False

    def first_act(self) -> list[Link]:
        """From the shop's database to champions that score and are watched, as of the first moment."""
        with timed(self.stages, "first act", self.progress) as said:
            for dag in (INGEST, *FOLLOWING):
                self.api.await_dag(dag)
            root = self._root(INGEST, f"demo__{self.part.name}", {AS_OF: FIRST_MOMENT})
            links = self._follow([root], "")
            said.append(_told(links))
        return links

    def later_act(self, first: Sequence[Link]) -> list[Link]:
        """Each champion that has predicted is judged by the truths that have matured by the year's end."""
        watched = [link.run.dag for link in first if ("watch", "success") in _states(link)]
        if not watched:
            return []
        with timed(self.stages, "later act", self.progress) as said:
            roots = [self._root(dag, f"demo__{self.part.name}__later", {}) for dag in dict.fromkeys(watched)]
            links = self._follow(roots, " later")
            said.append(_told(links))
        return links

    def _root(self, dag: str, name: str, conf: dict[str, str]) -> DagRun:
        """The run of this name; the next of its name where that one failed; triggered if there is none."""
        for attempt in range(1, ATTEMPTS):
            run_id = name + (f"__{attempt}" if attempt > 1 else "")
            found = self.api.run(dag, run_id)
            if found is None:
                self.worked = True
                self.api.trigger(dag, run_id, conf)
                found = self.api.run(dag, run_id)
            if found is not None and found.state != "failed":
                return found
        raise AirflowError(f"{ATTEMPTS} runs of {dag} failed.", remedy=f"See {self.api.url}/dags/{dag}/runs.")

    def _follow(self, roots: Sequence[DagRun], act: str) -> list[Link]:
        """The chain from the roots, once it has ended; what had failed in it before has another try.

        Raises:
            AirflowError: A run failed.
        """
        chain = Chain(self.api, roots, FOLLOWING)
        links = chain.links()
        for link in links:
            if link.run.state == "failed":
                self.api.clear(link.run.dag, link.run.id)
        self.worked |= any(link.run.state != "success" for link in links)
        links = chain.follow(lambda seen: self._tell(seen, act))
        failed = [link for link in links if link.run.state == "failed"]
        if failed:
            told = "; ".join(
                f"{link.run.name} at {', '.join(task.name for task in link.tasks if task.state == 'failed')}"
                for link in failed
            )
            raise AirflowError(
                f"Failed: {told}. What each refused is kept apart; main holds nothing of it.",
                remedy=f"See {_url(self.api.url, failed[0].run)}, or `headrace lake refused`.",
            )
        return links

    def _tell(self, links: Sequence[Link], act: str) -> None:
        """One line per run; the runs of one DAG are counted."""
        counted: dict[str, int] = {}
        for link in links:
            number = counted[link.run.dag] = counted.get(link.run.dag, 0) + 1
            name = f"  {link.run.dag}{act}{f' ({number})' if number > 1 else ''}"
            text = " > ".join(_task_text(task) for task in link.tasks if task.state not in ("", "skipped"))
            if link.run.state in ENDED:
                self.progress.end(name, text, failed=link.run.state == "failed")
            else:
                self.progress.step(name, text)


def _task_text(task: TaskState) -> str:
    seconds = f" {task.seconds:.0f} s" if task.seconds else ""
    return f"{task.name}{seconds}" if task.state == "success" else f"{task.name} {task.state}{seconds}"


def _states(link: Link) -> set[tuple[str, str]]:
    return {(task.id, task.state) for task in link.tasks}


def _told(links: Sequence[Link]) -> str:
    return f"{len(links)} runs, {sum(len(link.tasks) for link in links)} tasks"


def _url(airflow: str, run: DagRun) -> str:
    return f"{airflow}/dags/{run.dag}/runs/{run.id}"


def _lines(settings: Settings, links: Sequence[Link], act: Literal["first", "later"]) -> list[RunLine]:
    """The runs for the report, with what the journal tells of the stations' own work."""
    timings = {
        (entry["dag"], entry["run"], entry["task"], entry["map_index"]): entry
        for entry in journal.entries(settings.home, journal.TIMINGS)
    }
    lines = []
    for link in links:
        run = link.run
        tasks = [
            _task_line(task, timings.get((run.dag, run.id, task.id, task.map_index))) for task in link.tasks
        ]
        extras = [cause.extra for cause in link.causes]
        lines.append(
            RunLine(
                dag=run.dag,
                run_id=run.id,
                state=run.state,
                act=act,
                started=run.started,
                ended=run.ended,
                as_of=max((str(told[AS_OF]) for told in (run.conf, *extras) if told.get(AS_OF)), default=""),
                triggered_by=tuple(cause.run for cause in link.causes),
                url=_url(settings.airflow_url, run),
                tasks=tuple(tasks),
            )
        )
    return lines


def _task_line(task: TaskState, timing: Mapping[str, Any] | None) -> TaskLine:
    return TaskLine(
        task=task.name,
        state=task.state,
        started=task.started,
        ended=task.ended,
        work_seconds=None if timing is None else timing["ended"] - timing["began"],
        peak_memory_bytes=None if timing is None else timing["peak_memory_bytes"],
    )


def _audit(settings: Settings) -> list[tuple[str, str, int, int]]:
    """Number, promise, things checked and violations of each invariant."""
    from include.audit.auditor import audit

    return [
        (found.invariant, found.promise, found.checked, len(found.violations)) for found in audit(settings)
    ]
