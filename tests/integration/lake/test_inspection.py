"""Log, tables, differences, refused drafts and orphans, through the functions and the command line."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from include.cli import app
from include.lake import collect_drafts, commit_draft, open_draft, publish, refused, retention, upload
from include.lake.connection import MODELS
from include.lake.errors import CorruptParquet, UnknownRef, UnknownTable
from include.lake.history import log
from include.lake.names import draft_branch
from include.lake.objects import ObjectFile, list_objects
from include.lake.tables import Column, TableDiff, diff_tables, list_tables, show_table
from include.settings import settings as settings_of_process
from include.spec.refs import CommitRef
from tests.integration.lake.samples import ORDERS, PASSED, REFUSED, STATION, paths

pytestmark = pytest.mark.integration


def put(lake, folder, prefix, run, verdict=PASSED):
    return publish(
        lake, run, STATION, lambda d: upload(lake, d, folder, prefix), lambda _: verdict, f"Ingest {run}"
    )


def test_tables_are_listed_with_what_is_in_them(any_lake, orders):
    lake = any_lake
    put(lake, orders(2, 10), ORDERS, "run-1")
    commit = put(lake, orders(1, 5), "raw/retail/orders_old", "run-2").commit
    found = list_tables(lake, commit)
    assert [(table.table, table.files, table.rows) for table in found] == [
        (ORDERS, 2, 20),
        ("raw/retail/orders_old", 1, 5),
    ]
    assert [table.table for table in list_tables(lake, commit, ORDERS)] == [ORDERS]
    shown = show_table(lake, commit, ORDERS)
    assert shown.columns == (Column("id", "int64", True),)
    assert (shown.stat.rows, len(shown.files)) == (20, 2)
    with pytest.raises(UnknownTable, match="raw/retail/orders, raw/retail/orders_old"):
        show_table(lake, commit, "raw/retail/order")


def test_rows_that_nobody_recorded_are_read_from_the_footer_alone(any_lake, orders):
    lake = any_lake
    file = next(orders(1, 200_000).iterdir())
    draft = open_draft(lake, "run-1", STATION)
    path = f"{ORDERS}/{file.name}"
    lake.api.objects_api.upload_object(lake.repository, draft.branch, path, content=file.read_bytes())
    commit = commit_draft(lake, draft, "By others", {}, PASSED)
    (stat,) = list_objects(lake, commit)
    assert stat.rows is None
    assert list_tables(lake, commit)[0].rows == 200_000
    assert show_table(lake, commit, ORDERS).columns[0].name == "id"
    assert pq.read_table(ObjectFile(lake, commit, stat)).equals(pq.read_table(file))


def test_an_object_that_is_no_parquet_is_one_clear_error(lake):
    draft = open_draft(lake, "run-1", STATION)
    path = f"{ORDERS}/broken.parquet"
    lake.api.objects_api.upload_object(lake.repository, draft.branch, path, content=b"not Parquet at all")
    with pytest.raises(CorruptParquet, match=path):
        list_tables(lake, draft)


def test_a_difference_is_told_per_table(lake, orders):
    before = put(lake, orders(2, 10), ORDERS, "run-1").commit
    names = [f"{ORDERS}/part-000000.parquet"]
    draft = open_draft(lake, "run-2", STATION)
    for name in names:
        lake.api.objects_api.delete_object(lake.repository, draft.branch, name)
    upload(lake, draft, {"part-000010.parquet": next(orders(1, 7).iterdir())}, ORDERS)
    upload(lake, draft, orders(1, 3), "raw/retail/baskets")
    after = commit_draft(lake, draft, "Ingest", {}, PASSED)
    assert diff_tables(lake, before, after) == (
        TableDiff("raw/retail/baskets", 1, 0, 0, 3, 0),
        TableDiff(ORDERS, 0, 1, 1, 7, 20),
    )
    assert diff_tables(lake, before, before) == ()
    with pytest.raises(UnknownRef):
        diff_tables(lake, before, CommitRef(lake.repository, "0123456789abcdef"))


def test_the_log_ends_where_it_is_told_to(lake, orders):
    for number in range(3):
        put(lake, orders(1, 1 + number), ORDERS, f"run-{number}")
    assert [entry.message for entry in log(lake, limit=2)] == ["Ingest run-2", "Ingest run-1"]
    with pytest.raises(UnknownRef, match="nothing-here"):
        list(log(lake, "nothing-here"))


def at(**later):
    return datetime.now(UTC) + timedelta(**later)


def test_collecting_takes_what_rested_long_enough_and_nothing_else(lake, orders):
    abandoned = open_draft(lake, "abandoned", STATION)
    upload(lake, abandoned, orders(1, 1), ORDERS)
    committed = open_draft(lake, "committed", STATION)
    upload(lake, committed, orders(1, 2), ORDERS)
    commit_draft(lake, committed, "Ingest", {}, PASSED)
    no = put(lake, orders(1, 3), ORDERS, "refused", REFUSED)
    theirs, bare = "draft-of-theirs-0123456789abcdef", draft_branch(STATION, "never opened")
    others = {"draft-by-hand", theirs, "feature"}
    for name in (*others, bare):
        lake.api.branches_api.create_branch(lake.repository, branch(name))
    lake.api.objects_api.upload_object(lake.repository, theirs, "raw/theirs.bin", content=b"theirs")
    week = timedelta(days=7)
    # A branch at the head of main may be that of a run which is about to open it.
    assert bare not in {item.branch for item in collect_drafts(lake, week, now=at(days=8), dry_run=True)}
    put(lake, orders(1, 4), "raw/retail/baskets", "moves main")
    assert collect_drafts(lake, week) == ()
    assert collect_drafts(lake, week, now=at(days=6)) == ()
    dry = collect_drafts(lake, week, now=at(days=8), dry_run=True)
    assert {item.branch for item in dry} == {abandoned.branch, committed.branch, bare}
    assert paths(lake, abandoned)
    assert paths(lake, committed)
    assert collect_drafts(lake, week, now=at(days=8)) == dry
    assert refused(lake) == (no,)
    gone = collect_drafts(lake, week, refused_for=timedelta(days=30), now=at(days=31))
    assert [(item.run_id, item.reason) for item in gone] == [("refused", "refused long ago")]
    left = {item.id for item in lake.api.branches_api.list_branches(lake.repository).results}
    assert left == {"main", *others}
    with pytest.raises(ValueError, match="negative"):
        collect_drafts(lake, timedelta(days=-1))


def branch(name):
    return MODELS.BranchCreation(name=name, source="main")


def test_a_draft_that_is_being_written_is_not_collected_however_long_ago_it_was_opened(
    lake, orders, monkeypatch
):
    """A run that writes for ten days: its draft was opened then, its last object is of a minute ago."""
    draft = open_draft(lake, "long", STATION)
    upload(lake, draft, orders(1, 1), ORDERS)
    real = retention._our_head

    def opened_long_ago(lake, name):
        head = real(lake, name)
        return head and replace(head, created_s=head.created_s - 10 * 86400)

    monkeypatch.setattr(retention, "_our_head", opened_long_ago)
    assert collect_drafts(lake, timedelta(days=7)) == ()
    assert [item.run_id for item in collect_drafts(lake, timedelta(days=7), now=at(days=8))] == ["long"]


@pytest.fixture
def command(settings, monkeypatch):
    """Run `headrace lake ...` with the settings of the test's lake; what it printed."""
    for name, value in {
        "HEADRACE_HOME": str(settings.home),
        "HEADRACE_LAKEFS_ENDPOINT": settings.lakefs_endpoint,
        "HEADRACE_LAKEFS_ACCESS_KEY_ID": settings.lakefs_access_key_id,
        "HEADRACE_LAKEFS_SECRET_ACCESS_KEY": settings.lakefs_secret_access_key.get_secret_value(),
        "HEADRACE_LAKE_REPOSITORY": settings.lake_repository,
        "HEADRACE_LAKE_STORAGE_NAMESPACE": settings.lake_storage_namespace,
    }.items():
        monkeypatch.setenv(name, value)
    settings_of_process.cache_clear()

    def run(*arguments, code=0):
        result = CliRunner().invoke(app, ["lake", *arguments])
        assert result.exit_code == code, result.output
        return result.output

    yield run
    settings_of_process.cache_clear()


def test_the_commands_tell_what_the_functions_find(lake, orders, command, tmp_path):
    put(lake, orders(2, 10), ORDERS, "run-1")
    put(lake, orders(1, 5), "raw/retail/baskets", "run-2")
    put(lake, orders(1, 5), "raw/retail/baskets", "run-3", REFUSED)
    entries = json.loads(command("log", "--json"))
    assert [entry["message"] for entry in entries][:2] == ["Ingest run-2", "Ingest run-1"]
    assert entries[1]["record"]["rows"] == {ORDERS: 20}
    assert "Ingest run-1" in command("log")
    assert {(t["table"], t["rows"]) for t in json.loads(command("tables", "--json"))} == {
        (ORDERS, 20),
        ("raw/retail/baskets", 5),
    }
    assert ORDERS in command("tables", "raw/retail")
    assert json.loads(command("show", ORDERS, "--json"))["columns"][0]["type"] == "int64"
    assert "20 rows in 2 files" in command("show", ORDERS)
    (change,) = json.loads(command("diff", "main~1", "main", "--json"))
    assert (change["table"], change["rows_added"]) == ("raw/retail/baskets", 5)
    assert "+5" in command("diff", "main~1")
    (no,) = json.loads(command("refused", "--json"))
    assert (no["run_id"], no["verdict"]["findings"][0]["observed"]) == ("run-3", "3 of 10")
    assert "3 of 10" in command("refused")
    told = json.loads(command("checkout", ORDERS, "--to", str(tmp_path / "files"), "--json"))
    assert (told["files"], told["commit"]) == (2, lake.head().commit)
    assert len(list((tmp_path / "files" / ORDERS).iterdir())) == 2
    assert "2 files" in command("checkout", ORDERS, "--to", str(tmp_path / "again"))
    assert json.loads(command("collect", "--json")) == []
    (gone,) = json.loads(command("collect", "--refused-for-days", "0", "--dry-run", "--json"))
    assert gone["reason"] == "refused long ago"
    assert "is ready" in command("init")
    held = json.loads(command("trim", "--json"))["kept_bytes"]
    assert held > 0
    assert json.loads(command("trim", "--to-bytes", "0", "--dry-run", "--json"))["kept_bytes"] == 0
    assert "2 files" in command("trim", "--to-bytes", "0")
    assert json.loads(command("trim", "--json"))["kept_bytes"] == 0


def test_a_command_that_cannot_says_so_and_ends_with_1(settings, command):
    output = command("log", code=1)
    assert "headrace lake init" in output
    assert "Traceback" not in output
