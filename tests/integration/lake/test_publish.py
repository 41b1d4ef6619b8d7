"""Write-audit-publish on a real server: what reaches main, what does not, and what a second time does."""

import pytest

from include.lake import (
    Lake,
    checkout,
    commit_draft,
    discard,
    find_published,
    merge_draft,
    open_draft,
    publish,
    refuse,
    refused,
    remove,
    upload,
)
from include.lake.errors import DraftGone, GateNotPassed, MergeConflict
from include.lake.history import log
from include.lake.publish import _merge
from include.lake.runs import draft_head, draft_ref, needed_head
from include.spec.refs import CommitRef, Published, Refused
from tests.integration.lake.samples import ORDERS, PASSED, REFUSED, STATION, SUITE_HASH, paths

pytestmark = pytest.mark.integration


def published(lake: Lake, folder, run="run-1", prefix=ORDERS, verdict=PASSED, station=STATION):
    return publish(
        lake,
        run,
        station,
        lambda draft: upload(lake, draft, folder, prefix),
        lambda draft: verdict,
        f"Ingest {run}",
        {"source": "retail"},
    )


def branches(lake):
    return {branch.id for branch in lake.api.branches_api.list_branches(lake.repository).results}


def test_what_passes_is_one_commit_on_main_with_its_record(any_lake, orders):
    lake, seen = any_lake, []
    before = lake.head()

    def audit(draft):
        with checkout(lake, draft, ORDERS) as files:
            seen.extend(sorted(path.name for path in files.path(ORDERS).iterdir()))
        return PASSED

    result = publish(
        lake,
        "manual__2026-01-01T00:00:00+00:00",
        STATION,
        lambda draft: upload(lake, draft, orders(2, 10), ORDERS),
        audit,
        "Ingest retail",
        {"source": "retail"},
    )
    assert seen == ["part-000000.parquet", "part-000010.parquet"]
    assert isinstance(result, Published)
    assert result.changed
    assert result.commit == lake.head()
    assert result.rows == ((ORDERS, 20),)
    assert paths(lake, result.commit) == [f"{ORDERS}/part-000000.parquet", f"{ORDERS}/part-000010.parquet"]
    first, *older = log(lake)
    assert first.message == "Ingest retail"
    assert dict(first.metadata) == {"source": "retail"}
    assert first.record is not None
    assert (first.record.kind, first.record.suite_hash, first.record.checked) == ("published", SUITE_HASH, 7)
    assert first.record.verdict.passed
    assert first.record.code_version
    assert [entry.commit for entry in older] == [before]
    reachable = list(lake.pages(lake.api.refs_api.log_commits, "main"))
    assert len(reachable) == 2, "commits without a verdict can be reached from main"
    assert branches(lake) == {"main"}


def test_what_is_refused_stays_off_main_and_can_be_looked_at(any_lake, orders):
    lake = any_lake
    before = lake.head()
    result = published(lake, orders(1, 10), verdict=REFUSED)
    assert isinstance(result, Refused)
    assert lake.head() == before
    assert refused(lake) == (result,)
    assert result.verdict == REFUSED
    assert (result.run_id, result.station) == ("run-1", STATION)
    with checkout(lake, result.commit, ORDERS) as files:
        assert len(files.objects) == 1
    draft = open_ref(lake, result)
    assert refuse(lake, draft, REFUSED) == result, "refusing again made another commit"
    assert find_published(lake, "run-1", STATION) is None


def open_ref(lake, result):

    head = draft_head(lake, result.branch)
    assert head is not None
    return draft_ref(lake, head)


def test_a_refused_run_can_try_again_and_what_was_refused_is_kept(lake, orders):
    first = published(lake, orders(1, 10), verdict=REFUSED)
    second = published(lake, orders(1, 20), verdict=REFUSED)
    third = published(lake, orders(1, 30))
    assert isinstance(third, Published)
    kept = refused(lake)
    assert {item.commit for item in kept} == {first.commit, second.commit}
    for item in kept:
        with checkout(lake, item.commit, ORDERS) as files:
            assert len(files.objects) == 1
    assert third.rows == ((ORDERS, 30),)


def test_nothing_new_is_a_success_that_publishes_nothing(any_lake, orders):
    lake, folder = any_lake, orders(2, 10)
    first = published(lake, folder, "run-1")
    second = published(lake, folder, "run-2")
    assert isinstance(second, Published)
    assert not second.changed
    assert second.commit == first.commit == lake.head()
    assert second.rows == ()
    third = published(lake, orders(1, 5), "run-3", prefix="raw/retail/baskets")
    assert third.commit == lake.head()
    assert published(lake, folder, "run-2") == second, "a run that changed nothing runs again"
    assert branches(lake) == {"main"}


def test_a_run_that_published_does_nothing_again(any_lake, orders):
    lake = any_lake
    first = published(lake, orders(2, 10))
    published(lake, orders(1, 10, first=500), "run-2")
    head = lake.head()

    def never(_draft):
        raise AssertionError("the run was published already")

    again = publish(lake, "run-1", STATION, never, never, "Ingest again")
    assert again == first
    assert lake.head() == head
    assert branches(lake) == {"main"}


def test_one_run_id_of_two_stations_is_two_runs(lake, orders):
    one = published(lake, orders(1, 10), prefix="raw/retail/orders", station="ingest_batch__retail")
    two = published(lake, orders(1, 10), prefix="raw/flights/flights", station="ingest_batch__flights")
    assert one.commit != two.commit
    assert [entry.record.station for entry in log(lake) if entry.record] == [two.station, one.station]


def test_each_step_can_be_taken_twice(any_lake, orders):
    lake, folder = any_lake, orders(2, 10)
    draft = open_draft(lake, "run-1", STATION)
    assert open_draft(lake, "run-1", STATION) == draft
    upload(lake, draft, folder, ORDERS)
    upload(lake, draft, folder, ORDERS)
    assert open_draft(lake, "run-1", STATION) == draft
    assert len(paths(lake, draft)) == 2, "opening a draft again lost what was staged on it"
    commit = commit_draft(lake, draft, "Ingest", {}, PASSED)
    assert commit_draft(lake, draft, "Ingest", {}, PASSED) == commit
    result = merge_draft(lake, draft)
    assert merge_draft(lake, draft) == result
    again = open_draft(lake, "run-1", STATION)
    assert merge_draft(lake, again) == result, "a draft of a run that is done was merged"
    assert branches(lake) == {"main"}
    assert len([entry for entry in log(lake) if entry.record]) == 1


def test_a_writing_task_that_is_tried_again_leaves_no_file_of_the_first_try(any_lake, orders):
    lake = any_lake
    draft = open_draft(lake, "run-1", STATION)
    upload(lake, draft, orders(3, 10), ORDERS)
    upload(lake, draft, orders(1, 10), "raw/retail/orders_old")
    discard(lake, draft, ORDERS)
    upload(lake, draft, orders(1, 30), ORDERS)
    assert paths(lake, draft) == [
        f"{ORDERS}/part-000000.parquet",
        "raw/retail/orders_old/part-000000.parquet",
    ]
    discard(lake, draft)
    discard(lake, draft)
    assert paths(lake, draft) == []


def test_what_a_draft_takes_away_is_gone_from_main_and_kept_by_older_commits(any_lake, orders):
    lake = any_lake
    before = published(lake, orders(3, 10), "run-1").commit
    draft = open_draft(lake, "run-2", STATION)
    taken = [f"{ORDERS}/part-000000.parquet", f"{ORDERS}/part-000010.parquet"]
    remove(lake, draft, [*taken, f"{ORDERS}/never-there.parquet"])
    remove(lake, draft, taken)
    commit_draft(lake, draft, "Take away", {}, PASSED)
    result = merge_draft(lake, draft)
    assert (result.changed, result.rows) == (True, ())
    assert paths(lake, result.commit) == [f"{ORDERS}/part-000020.parquet"]
    assert len(paths(lake, before)) == 3


def test_restarting_a_draft_throws_the_first_attempt_away(lake, orders):
    draft = open_draft(lake, "run-1", STATION)
    upload(lake, draft, orders(3, 10), ORDERS)
    published(lake, orders(1, 10), "run-2", prefix="raw/retail/baskets")
    fresh = open_draft(lake, "run-1", STATION, restart=True)
    assert fresh.branch == draft.branch
    assert fresh.base == lake.head().commit != draft.base
    assert paths(lake, fresh, ORDERS) == []


def test_main_may_move_meanwhile(any_lake, orders):
    lake = any_lake
    draft = open_draft(lake, "run-1", STATION)
    upload(lake, draft, orders(1, 10), ORDERS)
    published(lake, orders(1, 10), "run-2", prefix="raw/retail/baskets")
    commit_draft(lake, draft, "Ingest", {}, PASSED)
    result = merge_draft(lake, draft)
    assert paths(lake, result.commit) == [
        "raw/retail/baskets/part-000000.parquet",
        f"{ORDERS}/part-000000.parquet",
    ]


def test_a_conflict_lists_the_paths_and_merges_nothing(any_lake, orders):
    lake = any_lake
    draft = open_draft(lake, "run-1", STATION)
    upload(lake, draft, orders(3, 10), ORDERS)
    commit_draft(lake, draft, "Ingest", {}, PASSED)
    # Of the three names: one with other bytes, one with the same, one not at all.
    theirs = {"part-000000.parquet": next(orders(1, 7).iterdir()), **named(orders(1, 10, first=10))}
    published(lake, theirs, "run-2")
    head = lake.head()
    with pytest.raises(MergeConflict) as caught:
        merge_draft(lake, draft)
    assert caught.value.paths == (f"{ORDERS}/part-000000.parquet",)
    assert "part-000000.parquet" in str(caught.value)
    assert lake.head() == head
    assert len(paths(lake, draft)) == 3, "the draft in conflict was not kept"


def named(folder):
    return {file.name: file for file in folder.iterdir()}


def test_a_run_in_conflict_can_start_again(lake, orders):
    draft = open_draft(lake, "run-1", STATION)
    upload(lake, draft, orders(1, 10), ORDERS)
    commit_draft(lake, draft, "Ingest", {}, PASSED)
    published(lake, orders(1, 11), "run-2")
    with pytest.raises(MergeConflict):
        merge_draft(lake, draft)
    fresh = open_draft(lake, "run-1", STATION, restart=True)
    upload(lake, fresh, orders(1, 12), ORDERS)
    commit_draft(lake, fresh, "Ingest", {}, PASSED)
    assert merge_draft(lake, fresh).rows == ((ORDERS, 12),)


def test_another_run_that_published_the_same_bytes_first_is_no_conflict(lake, orders):
    folder = orders(1, 10)
    draft = open_draft(lake, "run-1", STATION)
    upload(lake, draft, folder, ORDERS)
    commit_draft(lake, draft, "Ingest", {}, PASSED)
    other = published(lake, folder, "run-2")
    result = merge_draft(lake, draft)
    assert (result.changed, result.commit) == (False, other.commit)
    published(lake, orders(1, 5), "run-3", prefix="raw/retail/baskets")
    assert merge_draft(lake, draft) == result


def test_only_what_passed_can_be_committed_and_merged(lake, orders):
    draft = open_draft(lake, "run-1", STATION)
    upload(lake, draft, orders(1, 10), ORDERS)
    with pytest.raises(DraftGone, match="it is opened"):
        merge_draft(lake, draft)
    with pytest.raises(GateNotPassed, match="1 findings over 7 rules"):
        commit_draft(lake, draft, "Ingest", {}, REFUSED)
    with pytest.raises(ValueError, match="passed"):
        refuse(lake, draft, PASSED)
    refuse(lake, draft, REFUSED)
    with pytest.raises(DraftGone, match="refused"):
        commit_draft(lake, draft, "Ingest", {}, PASSED)
    with pytest.raises(DraftGone, match="refused"):
        merge_draft(lake, draft)


def test_what_was_staged_after_the_commit_does_not_reach_main(lake, orders):
    draft = open_draft(lake, "run-1", STATION)
    upload(lake, draft, orders(1, 10), ORDERS)
    commit_draft(lake, draft, "Ingest", {}, PASSED)
    upload(lake, draft, orders(1, 10), "raw/retail/unchecked")
    result = merge_draft(lake, draft)
    assert paths(lake, result.commit) == [f"{ORDERS}/part-000000.parquet"]


def test_a_draft_that_is_gone_is_one_clear_error(lake, orders):
    draft = open_draft(lake, "run-1", STATION)
    lake.api.branches_api.delete_branch(lake.repository, draft.branch)
    folder = orders(1, 1)
    for step in (
        lambda: upload(lake, draft, folder, ORDERS),
        lambda: discard(lake, draft, ORDERS),
        lambda: remove(lake, draft, [f"{ORDERS}/a.parquet"]),
        lambda: commit_draft(lake, draft, "Ingest", {}, PASSED),
        lambda: merge_draft(lake, draft),
        lambda: refuse(lake, draft, REFUSED),
    ):
        with pytest.raises(DraftGone, match="open_draft starts it again"):
            step()


def test_the_record_keys_are_not_the_callers(lake, orders):
    draft = open_draft(lake, "run-1", STATION)
    upload(lake, draft, orders(1, 1), ORDERS)
    with pytest.raises(ValueError, match=r"headrace\.suite_hash"):
        commit_draft(lake, draft, "Ingest", {"headrace.suite_hash": "forged"}, PASSED)


def test_a_commit_is_read_by_engines_behind_the_gateway_too(lake):
    ref = CommitRef(lake.repository, "c0ffee")
    assert lake.uri(ref, "raw/retail/orders") == f"s3a://{lake.repository}/c0ffee/raw/retail/orders"
    assert lake.uri(ref, "", scheme="lakefs") == f"lakefs://{lake.repository}/c0ffee/"


def test_a_step_of_an_earlier_attempt_does_not_mix_into_a_later_one(lake, orders):
    old = open_draft(lake, "run-1", STATION)
    upload(lake, old, orders(1, 10), ORDERS)
    new = open_draft(lake, "run-1", STATION, restart=True)
    assert new.branch == old.branch
    for step in (
        lambda: upload(lake, old, orders(1, 10), ORDERS),
        lambda: commit_draft(lake, old, "Ingest", {}, PASSED),
        lambda: refuse(lake, old, REFUSED),
        lambda: merge_draft(lake, old),
    ):
        with pytest.raises(DraftGone, match="another attempt"):
            step()
    assert paths(lake, new) == []


def test_a_run_that_was_merged_before_it_died_is_not_published_again_by_a_restart(lake, orders):
    draft = open_draft(lake, "run-1", STATION)
    upload(lake, draft, orders(1, 10), ORDERS)
    commit_draft(lake, draft, "Ingest", {}, PASSED)
    merge = _merge(lake, draft, needed_head(lake, draft), "Ingest")  # and here the process dies
    published(lake, orders(1, 5), "run-2", prefix="raw/retail/baskets")
    again = open_draft(lake, "run-1", STATION, restart=True)
    upload(lake, again, orders(1, 99), ORDERS)
    commit_draft(lake, again, "Ingest", {}, PASSED)
    result = merge_draft(lake, again)
    assert (result.commit.commit, result.rows) == (merge, ((ORDERS, 10),))
    assert len([entry for entry in log(lake) if entry.record]) == 2
