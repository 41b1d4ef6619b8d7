"""How long the stations worked, and what was spent around their work."""

from collections.abc import Iterable, Sequence

from include.demo.report.lines import RunLine, TaskLine, Timing

RAN = ("success", "failed")

Interval = tuple[float, float]


def union_seconds(intervals: Iterable[Interval]) -> float:
    """Length of the union of intervals: what two do at the same time counts once."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def timing(runs: Sequence[RunLine], *, since: float | None = None) -> Timing:
    """Where the time of these runs went.

    Args:
        runs: Those that have begun count.
        since: Nothing before this moment counts, in seconds since 1970: a demo that goes on where an earlier
            one broke off answers for its own time only.
    """
    spans = [(run.started, run.ended or run.started) for run in runs if run.started is not None]
    floor = float("-inf") if since is None else since
    spans = [(max(start, floor), end) for start, end in spans if end > floor]
    if not spans:
        return Timing(0.0, 0.0, 0.0, 0)
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    tasks = [task for run in runs for task in run.tasks]
    worked = [own for task in tasks if (own := own_work(task)) is not None]
    station = union_seconds(
        (max(start, first), min(end, last)) for start, end in worked if end > first and start < last
    )
    unmeasured = sum(task.state in RAN and own_work(task) is None for task in tasks)
    return Timing(last - first, station, last - first - station, unmeasured)


def own_work(task: TaskLine) -> Interval | None:
    """When the station itself worked in a task: at its end, after the process was started for it.

    None where the task did not run, or what it did was not measured.
    """
    if task.started is None or task.ended is None or task.work_seconds is None:
        return None
    return max(task.started, task.ended - task.work_seconds), task.ended
