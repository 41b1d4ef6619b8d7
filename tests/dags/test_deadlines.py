"""A missed deadline reaches its owner: Airflow's own trigger calls what the DAGs name, and it is kept."""

import asyncio
import json

from airflow.triggers.callback import CallbackTrigger

from include.orchestration import journal
from include.orchestration.defaults import dag_defaults

RUN = {"dag_id": "score__x", "dag_run_id": "manual__1", "state": "running"}
CONTEXT = {"dag_run": RUN, "deadline": {"id": "1", "deadline_time": "2026-01-01 00:00:00+00:00"}}


async def events(trigger):
    return [event.payload async for event in trigger.run()]


def test_the_alert_of_a_missed_deadline_is_kept_for_the_owner(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    alert = dag_defaults("growth@retailer.example")["deadline"].callback
    trigger = CallbackTrigger(alert.path, {**alert.kwargs, "context": CONTEXT})
    assert [event["state"] for event in asyncio.run(events(trigger))] == ["running", "success"]
    (kept,) = journal.entries(tmp_path, journal.ALERTS)
    assert (kept["owner"], kept["dag"], kept["run"]) == ("growth@retailer.example", "score__x", "manual__1")
    assert "deadline, 2026-01-01" in kept["error"]
    assert (tmp_path / journal.ALERTS).stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / journal.ALERTS).read_text()) == kept
