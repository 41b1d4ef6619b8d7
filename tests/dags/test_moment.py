"""Which moment a run is as of, and by which name it publishes, by the values that Airflow gives to tasks."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType as TaskRunType
from airflow.utils.types import DagRunType

from include.orchestration import publication
from include.orchestration.moment import asked_moment
from include.spec.errors import HeadraceError

NOON = datetime(2017, 10, 28, 12, tzinfo=UTC)
NAIVE = datetime(2017, 10, 28, 12)


def context(run_type="manual", interval_end=None, given=None, events=()):
    return {
        "params": {"as_of": given},
        "dag_run": SimpleNamespace(run_type=run_type),
        "data_interval_end": interval_end,
        "triggering_asset_events": {"asset": [SimpleNamespace(extra=extra) for extra in events]},
    }


@pytest.mark.parametrize("run_type", [TaskRunType.BACKFILL, DagRunType.BACKFILL_JOB, "backfill"])
def test_a_backfilled_run_is_as_of_the_end_of_its_interval(run_type):
    assert asked_moment(context(run_type, NOON)) == NAIVE


@pytest.mark.parametrize("run_type", [TaskRunType.SCHEDULED, TaskRunType.MANUAL, DagRunType.SCHEDULED])
def test_other_runs_are_not(run_type):
    assert asked_moment(context(run_type, NOON)) is None


def test_the_form_wins_over_the_interval():
    given = context(TaskRunType.BACKFILL, NOON, given="2017-03-01T00:00:00+01:00")
    assert asked_moment(given) == datetime(2017, 2, 28, 23)


def test_a_triggered_run_takes_over_the_latest_moment_of_what_triggered_it():
    events = [{"as_of": "2017-05-01T00:00:00"}, {"as_of": "2017-06-01T00:00:00"}, {}, None]
    assert asked_moment(context(TaskRunType.ASSET_TRIGGERED, events=events)) == datetime(2017, 6, 1)


def test_what_is_no_moment_is_said():
    with pytest.raises(HeadraceError, match="as_of: 'soon' is no moment"):
        asked_moment(context(given="soon"))


@pytest.mark.parametrize(("cleared", "name"), [(0, "manual__1"), (1, "manual__1.1"), (12, "manual__1.12")])
def test_a_run_that_is_cleared_publishes_anew(monkeypatch, cleared, name):
    run = SimpleNamespace(clear_number=cleared)
    monkeypatch.setattr(publication, "get_current_context", lambda: {"dag_run": run})
    assert publication.attempt_of("manual__1") == name
