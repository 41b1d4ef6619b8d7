"""The live flights captured on real servers: as many changes as the replay made."""

from datetime import datetime

import pytest

from include.demo.replay.engine import replay
from include.demo.replay.flights import FlightsYear
from include.ingestion.batch import Desk
from include.ingestion.cdc import capture, confirm
from include.lake import Lake, commit_draft, merge_draft, open_draft
from include.sources.flights import SOURCE
from include.spec.verdict import Verdict

pytestmark = pytest.mark.integration

YEAR = FlightsYear("HA")
PASSED = Verdict(True, "0" * 64, 1)


def test_every_change_of_the_flights_is_captured_once(settings, live):
    lake = Lake.prepare(settings)
    replay(live, YEAR, until=datetime(2013, 3, 1))
    rows = []
    for number, until in enumerate((datetime(2013, 3, 1), datetime(2013, 4, 1), None)):
        done = replay(live, YEAR, until=until)
        draft = open_draft(lake, f"run-{number}", "ingest_cdc__flights")
        captured = capture(Desk(lake, settings, draft, SOURCE))
        commit_draft(lake, draft, "Capture", {}, PASSED)
        merge_draft(lake, draft)
        confirm(lake, settings, SOURCE)
        rows.append((captured.rows, done.rows))
    assert rows[0][0] >= 59
    assert rows[0][1] == 0
    assert [seen for seen, _ in rows[1:]] == [changed for _, changed in rows[1:]]
