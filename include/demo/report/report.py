"""The report at the end of the demo: what the stores hold, how it came there, and where to look."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from include.demo.report.document import restored
from include.demo.report.from_lake import commit_lines, history, table_lines, warnings
from include.demo.report.lines import AuditLine, CommitLine, RunLine, Stage, TableLine, TaskLine, Work
from include.demo.report.product_lines import ProductLine
from include.demo.report.timing import timing
from include.lake import Lake
from include.settings import Settings
from include.spec.errors import HeadraceError
from include.spec.verdict import Finding

__all__ = [
    "Report",
    "RunLine",
    "Stage",
    "TaskLine",
    "load_report",
    "make_report",
    "save_report",
    "write_page",
]


class NoReportError(HeadraceError):
    """The demo has not run here, or another version of this code wrote of it."""


@dataclass(frozen=True)
class Report:
    """Everything that the demo tells at its end; saved, and printed again by `headrace report`.

    Args:
        already: Whether all was done before, and nothing was done now.
        began: When this command began, in seconds since 1970.
        seconds: Of this command in all.
        stages: Of this command, in order of their end.
        work: The command that did the work: this one, or where that is `already`, an earlier one.
        runs: In order of their start.
        commits: Of main, the newest first.
        tables: On main, in the order of the flow.
        warnings: Rules that did not hold and do not refuse.
        products: As declared.
        audit: What the auditor checked; empty where it did not run.
        urls: Where to look, by name.
    """

    already: bool
    began: float
    seconds: float
    stages: tuple[Stage, ...]
    work: Work
    runs: tuple[RunLine, ...]
    commits: tuple[CommitLine, ...]
    tables: tuple[TableLine, ...]
    warnings: tuple[Finding, ...]
    products: tuple[ProductLine, ...]
    audit: tuple[AuditLine, ...]
    urls: dict[str, str]


def make_report(
    settings: Settings,
    *,
    runs: Sequence[RunLine],
    stages: Sequence[Stage],
    seconds: float,
    began: float,
    already: bool,
    audit: Sequence[tuple[str, str, int, int]] = (),
) -> Report:
    """Put the report together from the lake and the registry, which know what happened.

    Args:
        settings: Where they are; and of an earlier report, whose figures a command without work must keep.
        runs: Of the DAGs, as Airflow tells of them.
        stages: Of this command.
        seconds: Of this command in all.
        began: When it began, in seconds since 1970.
        already: Whether it found all done.
        audit: Rows of the auditor: id, what must hold, how many were checked, how many broke it.
    """
    from include.demo.report.from_registry import product_lines

    lake = Lake.connect(settings)
    entries = history(lake)
    warned = warnings(entries)
    ordered = sorted(runs, key=lambda run: run.started or float("inf"))
    work = _earlier_work(settings.home, ordered) if already else None
    if work is None:
        work = (
            Work(None, None, (), timing(ordered))
            if already
            else Work(began, seconds, tuple(stages), timing(ordered, since=began))
        )
    return Report(
        already=already,
        began=began,
        seconds=seconds,
        stages=tuple(stages),
        work=work,
        runs=tuple(ordered),
        commits=commit_lines(entries, settings.airflow_url),
        tables=table_lines(lake, warned),
        warnings=warned,
        products=product_lines(settings, lake, entries),
        audit=tuple(AuditLine(*row) for row in audit),
        urls={
            "Airflow": settings.airflow_url,
            "MLflow": settings.mlflow_tracking_uri,
            "Lake": settings.lakefs_endpoint,
        },
    )


def save_report(settings: Settings, report: Report) -> None:
    """Keep the report for `headrace report`; replaced at once."""
    _replace(_path(settings.home), json.dumps(asdict(report), indent=1) + "\n")


def load_report(home: Path) -> Report:
    """The report of the last demo in this state folder.

    Raises:
        NoReportError: There is none, or another version of this code wrote it.
    """
    path = _path(home)
    if not path.is_file():
        raise NoReportError(f"There is no report in {home}.", remedy="Run `headrace demo` first.")
    try:
        report: Report = restored(Report, json.loads(path.read_text()))
    except (KeyError, TypeError, ValueError) as error:
        raise NoReportError(
            f"{path} is no report of this version: {type(error).__name__}: {error}.",
            remedy="Run `headrace demo` again: it does no work twice, and writes a new one.",
        ) from error
    return report


def write_page(settings: Settings, report: Report) -> Path:
    """Keep the report as a page for a browser, and return its path; replaced at once."""
    from include.demo.report.page import render

    path = page_path(settings.home)
    _replace(path, render(report))
    return path


def page_path(home: Path) -> Path:
    """Where the page is."""
    return home / "reports" / "demo.html"


def _path(home: Path) -> Path:
    return home / "reports" / "demo.json"


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(text)
    unfinished.replace(path)


def _earlier_work(home: Path, runs: Sequence[RunLine]) -> Work | None:
    """The work that the report of an earlier command tells of, if it was about the same runs."""
    try:
        earlier = load_report(home)
    except NoReportError:
        return None
    same = {(run.dag, run.run_id) for run in runs} == {(run.dag, run.run_id) for run in earlier.runs}
    return earlier.work if same else None
