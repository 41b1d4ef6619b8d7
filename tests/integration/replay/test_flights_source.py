"""The source `flights` on real servers: a live database, files in a bucket, an API over HTTP."""

from datetime import datetime

import pytest

from include.demo.replay.engine import replay
from include.demo.replay.flights import FlightsYear
from include.ingestion.batch import Desk, land, record_positions
from include.ingestion.snapshot import FOLDER
from include.lake import Lake, commit_draft, merge_draft, open_draft
from include.settings import Settings
from include.sources.flights import SOURCE
from include.spec.refs import Landing
from include.validation.draft import judge_draft

pytestmark = pytest.mark.integration

YEAR = FlightsYear("HA")
PREFIXES = {SOURCE.prefix(table.name): f"{SOURCE.prefix(table.name)}/{FOLDER}" for table in SOURCE.tables}


def ingest(lake: Lake, settings: Settings, run_id: str) -> dict[str, tuple[int, bool]]:
    """Land all origins, judge and publish; rows by table, and whether they changed."""
    draft = open_draft(lake, run_id, "ingest_batch__flights")
    desk = Desk(lake, settings, draft, SOURCE)
    landings: list[Landing] = [land(desk, origin) for origin in SOURCE.origins]
    record_positions(lake, draft, landings)
    verdict = judge_draft(lake, settings, draft, PREFIXES)
    assert verdict.passed, verdict.findings
    commit_draft(lake, draft, "Ingest flights", {}, verdict)
    merge_draft(lake, draft)
    return {
        one.table.removeprefix("raw/flights/"): (one.rows, one.changed)
        for landing in landings
        for one in landing.tables
    }


def test_five_tables_of_three_kinds_pass_their_gates(settings, live):
    lake = Lake.prepare(settings)
    replay(live, YEAR, until=datetime(2013, 3, 1))
    first = ingest(lake, settings, "first")
    assert first.pop("flights")[0] >= 59
    assert first == {
        "weather": (26_115, True),
        "planes": (3_322, True),
        "airports": (1_458, True),
        "airlines": (16, True),
    }
    replay(live, YEAR, until=datetime(2013, 4, 1))
    second = ingest(lake, settings, "second")
    assert {name for name, (_, changed) in second.items() if changed} == {"flights"}
    assert second["weather"][0] == 26_115
