"""Where the time went: the stations' work is a union of intervals, and orchestration is the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.demo.report.lines import RunLine, TaskLine, Work
from include.demo.report.timing import own_work, timing, union_seconds

MOMENTS = st.integers(0, 60)
INTERVALS = st.lists(st.tuples(MOMENTS, MOMENTS).map(lambda pair: (min(pair), max(pair))), max_size=12)


@given(INTERVALS)
def test_the_union_is_as_long_as_the_seconds_in_which_anything_ran(intervals):
    seconds = {second for start, end in intervals for second in range(start, end)}
    assert union_seconds(intervals) == len(seconds)


@given(INTERVALS, st.randoms())
def test_the_order_of_the_intervals_and_repeating_them_change_nothing(intervals, random):
    shuffled = [*intervals, *intervals]
    random.shuffle(shuffled)
    assert union_seconds(shuffled) == union_seconds(intervals)


def line(tasks, started, ended):
    return RunLine("dag", "run", "success", "first", started, ended, "", (), "", tuple(tasks))


@st.composite
def runs(draw):
    """A few runs of tasks that lie within them."""
    made = []
    for _ in range(draw(st.integers(1, 4))):
        tasks = []
        for _ in range(draw(st.integers(1, 5))):
            started, took = draw(MOMENTS), draw(st.integers(0, 30))
            work = draw(st.one_of(st.none(), st.integers(0, 40)))
            tasks.append(TaskLine("task", "success", started, started + took, work, None))
        first = min(task.started for task in tasks if task.started is not None)
        last = max(task.ended for task in tasks if task.ended is not None)
        made.append(line(tasks, first, last))
    return made


@given(runs())
def test_stations_and_orchestration_add_up_to_the_span(given_runs):
    found = timing(given_runs)
    assert found.station_seconds + found.orchestration_seconds == pytest.approx(found.span_seconds)
    assert 0 <= found.station_seconds <= found.span_seconds
    share = Work(0.0, found.span_seconds + 10, (), found).orchestration_share
    assert 0 <= share <= 1


@given(runs(), st.integers(0, 90))
def test_what_lies_before_the_command_is_not_counted(given_runs, since):
    whole, part = timing(given_runs), timing(given_runs, since=since)
    assert part.span_seconds <= whole.span_seconds
    assert part.station_seconds <= whole.station_seconds
    assert part.orchestration_seconds >= 0


def test_two_stations_that_work_at_once_count_once():
    tasks = [TaskLine("a", "success", 0, 12, 10, None), TaskLine("b", "success", 2, 12, 10, None)]
    assert timing([line(tasks, 0, 15)]).station_seconds == 10
    assert timing([line(tasks, 0, 15)]).orchestration_seconds == 5


def test_work_that_was_not_measured_counts_as_orchestration_and_is_told_of():
    tasks = [TaskLine("a", "success", 0, 12, None, None), TaskLine("b", "skipped", 12, 12, None, None)]
    found = timing([line(tasks, 0, 12)])
    assert (found.station_seconds, found.orchestration_seconds, found.unmeasured) == (0, 12, 1)


def test_a_task_worked_at_its_end_and_never_longer_than_it_ran():
    assert own_work(TaskLine("a", "success", 100, 110, 4, None)) == (106, 110)
    assert own_work(TaskLine("a", "success", 100, 110, 40, None)) == (100, 110)
    assert own_work(TaskLine("a", "skipped", None, None, None, None)) is None


def test_no_run_is_no_time():
    assert timing([]).span_seconds == 0
    assert Work(None, None, (), timing([])).orchestration_share == 0
