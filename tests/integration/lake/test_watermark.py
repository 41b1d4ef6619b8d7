"""Watermarks travel with the data, and two runs of one source cannot both move them."""

import json

import pytest

from include.lake import commit_draft, merge_draft, open_draft, read_watermark, upload, write_watermark
from include.lake.connection import MODELS
from include.lake.errors import BadWatermark, MergeConflict
from include.lake.history import log
from include.spec.refs import CommitRef, Position, Watermark
from tests.integration.lake.samples import ORDERS, PASSED, STATION

pytestmark = pytest.mark.integration
PATH = "raw/retail/_watermark_log.json"


def test_a_watermark_is_visible_with_the_data_or_not_at_all(any_lake, orders):
    lake = any_lake
    assert read_watermark(lake, lake.head(), "retail") is None
    draft = open_draft(lake, "run-1", STATION)
    upload(lake, draft, orders(1, 10), ORDERS)
    written = write_watermark(lake, draft, "retail", Position("lsn", "0/16B3748"))
    assert written == Watermark("retail", (Position("lsn", "0/16B3748"),), "run-1")
    assert read_watermark(lake, draft, "retail") == written
    assert read_watermark(lake, lake.head(), "retail") is None
    commit_draft(lake, draft, "Ingest", {}, PASSED)
    commit = merge_draft(lake, draft).commit
    assert read_watermark(lake, commit, "retail") == written
    record = next(log(lake)).record
    assert record is not None
    assert json.loads(record.watermark) == {"retail": [["", "lsn", "0/16B3748"]]}


def test_a_watermark_may_have_a_position_per_table(lake):
    draft = open_draft(lake, "run-1", STATION)
    positions = [Position("cursor", "2026-01-02", "orders"), Position("snapshot", "2026-01-01", "baskets")]
    write_watermark(lake, draft, "retail", positions)
    found = read_watermark(lake, draft, "retail")
    assert found is not None
    assert set(found.positions) == set(positions)


def test_the_position_of_a_log_is_written_apart_from_those_of_tables(lake):
    draft = open_draft(lake, "run-1", STATION)
    of_table, of_log = Position("snapshot", "abc", "orders"), Position("lsn", "0/1")
    with pytest.raises(BadWatermark, match="written apart"):
        write_watermark(lake, draft, "retail", [of_table, of_log])
    for position in (of_table, of_log):
        write_watermark(lake, draft, "retail", position)
    found = read_watermark(lake, draft, "retail")
    assert found is not None
    assert set(found.positions) == {of_table, of_log}


def test_two_runs_of_one_source_cannot_both_move_its_watermark(lake, orders):
    drafts = [open_draft(lake, run, STATION) for run in ("run-1", "run-2")]
    for number, draft in enumerate(drafts):
        upload(lake, draft, orders(1, 10), f"{ORDERS}/{draft.run_id}")
        write_watermark(lake, draft, "retail", Position("lsn", f"0/{number}"))
        commit_draft(lake, draft, "Ingest", {}, PASSED)
    merge_draft(lake, drafts[0])
    with pytest.raises(MergeConflict) as caught:
        merge_draft(lake, drafts[1])
    assert caught.value.paths == (PATH,)


@pytest.mark.parametrize(
    "document",
    ["", "[]", '{"version": 2}', '{"version": 1, "source": "retail", "run_id": "r", "positions": []}'],
)
def test_a_document_that_is_none_names_its_path_and_what_is_accepted(lake, document):
    draft = open_draft(lake, "run-1", STATION)
    lake.api.objects_api.upload_object(lake.repository, draft.branch, PATH, content=document.encode())
    with pytest.raises(BadWatermark, match=rf"{PATH}.*Accepted: "):
        read_watermark(lake, draft, "retail")


def test_the_watermark_of_another_source_is_not_taken_for_ours(lake):
    draft = open_draft(lake, "run-1", STATION)
    write_watermark(lake, draft, "flights", Position("lsn", "0/1"))
    copy = MODELS.ObjectCopyCreation(src_path="raw/flights/_watermark_log.json", src_ref=draft.branch)
    lake.api.objects_api.copy_object(lake.repository, draft.branch, PATH, copy)
    with pytest.raises(BadWatermark, match="'flights'"):
        read_watermark(lake, draft, "retail")
    assert read_watermark(lake, CommitRef(lake.repository, draft.base), "flights") is None
