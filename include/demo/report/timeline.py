"""When each run and task ran, as shares of the whole span: what a bar needs to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

from include.demo.report import words
from include.demo.report.lines import RunLine, TaskLine
from include.demo.report.timing import own_work

MARKS = (0, 25, 50, 75, 100)


@dataclass(frozen=True)
class Bar:
    """A stretch of time: percent from the left, percent wide; and what it is."""

    left: float
    width: float
    kind: str
    text: str


@dataclass(frozen=True)
class Row:
    """One line of the timeline with its bars; a run's has the lines of its tasks.

    Args:
        name: Run or task.
        state: As Airflow names it.
        seconds: That it took.
        own_seconds: Of these the station's own work; None where it was not measured.
        peak_memory_bytes: Of a task, where it told.
        url: Of a run.
        bars: In the order in which they are drawn.
        act: Of a run.
        tasks: Of a run.
    """

    name: str
    state: str
    seconds: float
    own_seconds: float | None
    peak_memory_bytes: int | None
    url: str
    bars: tuple[Bar, ...]
    act: str = ""
    tasks: tuple["Row", ...] = ()


@dataclass(frozen=True)
class Timeline:
    """The rows in order, and the marks below them: percent from the left, and the time there."""

    rows: tuple[Row, ...]
    marks: tuple[tuple[int, str], ...]


def timeline(runs: Sequence[RunLine]) -> Timeline:
    """The runs that began, in their order, from the first one's start to the last one's end."""
    begun = [run for run in runs if run.started is not None]
    if not begun:
        return Timeline((), ())
    first = min(run.started for run in begun if run.started is not None)
    last = max(run.ended or run.started or first for run in begun)
    scale = _Scale(first, max(last - first, 1e-9))
    marks = tuple((left, words.seconds(scale.span * left / 100) if left else "0 s") for left in MARKS)
    return Timeline(tuple(_run(run, scale) for run in begun), marks)


@dataclass(frozen=True)
class _Scale:
    first: float
    span: float

    def bar(self, start: float, end: float, kind: str, text: str) -> Bar:
        left = 100 * (start - self.first) / self.span
        return Bar(left, max(100 * (end - start) / self.span, 0.15), kind, text)


def _run(run: RunLine, scale: _Scale) -> Row:
    started = run.started or scale.first
    ended = run.ended or started
    tasks = [task for task in run.tasks if task.started is not None and task.state != "skipped"]
    lines = tuple(_task(task, scale) for task in tasks)
    bars = [scale.bar(started, ended, "span", f"{run.dag}: {words.seconds(ended - started)}")]
    bars += [bar for line in lines for bar in line.bars]
    measured = [line.own_seconds for line in lines if line.own_seconds is not None]
    own = sum(measured) if measured else None
    return Row(run.dag, run.state, ended - started, own, None, run.url, tuple(bars), run.act, lines)


def _task(task: TaskLine, scale: _Scale) -> Row:
    started = task.started or scale.first
    ended = task.ended or started
    bars = [scale.bar(started, ended, "wait", f"{task.task}: {words.seconds(ended - started)}")]
    work = own_work(task)
    if work is not None:
        own = f"{task.task}: {words.seconds(work[1] - work[0])} of own work"
        bars.append(scale.bar(*work, "work", own))
    return Row(
        task.task,
        task.state,
        ended - started,
        task.work_seconds,
        task.peak_memory_bytes,
        "",
        tuple(bars),
    )
