import datetime
from typing import Any

import lakefs_sdk
import pytest

pytestmark = pytest.mark.integration
sdk: Any = lakefs_sdk


def test_commit_tells_everything_about_itself(api, repo, main, put):
    parent = main.head.id
    put(main, "a")
    metadata = {"run": "42", "schlüssel": "wert ✓"}
    reference = main.commit("first ✓", metadata=metadata)
    commit = api.commits_api.get_commit(repo.id, reference.id)
    assert commit.id == reference.id == main.head.id
    assert commit.message == "first ✓"
    assert commit.metadata == metadata
    assert commit.parents == [parent]
    assert commit.committer
    assert commit.meta_range_id
    assert commit.generation == api.commits_api.get_commit(repo.id, parent).generation + 1
    assert commit.creation_date > 0
    assert list(main.uncommitted()) == []


def test_a_commit_keeps_its_objects_for_ever(repo, main, commit, content_at):
    first = commit(main, "one", "a", content="1")
    second = commit(main, "two", "a", content="2")
    main.object("a").delete()
    third = main.commit("gone").id
    assert content_at(first, "a") == "1"
    assert content_at(second, "a") == "2"
    assert not repo.ref(third).object("a").exists()
    assert repo.ref(first).object("a").exists()


def test_nothing_to_commit_is_400_unless_allowed(main, refuses):
    before = main.head.id
    with refuses(400, says="no changes"):
        main.commit("x")
    assert main.head.id == before
    empty = main.commit("empty", allow_empty=True)
    assert empty.get_commit().parents == [before]


def test_same_bytes_again_are_no_changes(main, commit, put, refuses):
    commit(main, "one", "a", content="same")
    put(main, "a", content="same")
    assert list(main.uncommitted()) == []
    with refuses(400, says="no changes"):
        main.commit("again")


@pytest.mark.parametrize("what", ["metadata", "content_type", "bytes"])
def test_identity_is_bytes_metadata_and_content_type(main, put, what):
    options = {"metadata": {"k": "1"}, "content_type": "text/plain"}
    put(main, "a", content="same", **options)
    main.commit("one")
    if what == "bytes":
        put(main, "a", content="sama", **options)
    else:
        put(main, "a", content="same", **{**options, what: {"k": "2"} if what == "metadata" else "text/csv"})
    assert [(change.type, change.path) for change in main.uncommitted()] == [("changed", "a")]
    main.commit("two")


def test_change_and_back_is_no_change(main, commit, put, refuses):
    commit(main, "one", "a", content="1")
    put(main, "a", content="2")
    put(main, "a", content="1")
    with refuses(400, says="no changes"):
        main.commit("back again")


def test_add_and_delete_is_no_change(main, put, refuses):
    put(main, "a")
    main.object("a").delete()
    assert list(main.uncommitted()) == []
    with refuses(400, says="no changes"):
        main.commit("nothing left")


def test_commit_date_can_be_given(main, put):
    put(main, "a")
    assert main.commit("old", date=1_000_000_000).get_commit().creation_date == 1_000_000_000


def test_commit_on_what_is_no_branch_is_404(repo, main, commit, refuses):
    first = commit(main, "one", "a")
    repo.tag("t").create(first)
    for name in ("none", "t", first):
        with refuses(404):
            repo.branch(name).commit("x")


def test_commit_of_a_source_metarange(api, repo, main, commit, put, refuses, paths_at):
    first = commit(main, "one", "a")
    tree = api.commits_api.get_commit(repo.id, first).meta_range_id
    commit(main, "two", "b")
    put(main, "dirty")
    creation = sdk.CommitCreation(message="as it was")
    with refuses(400):
        api.commits_api.commit(repo.id, "main", creation, source_metarange=tree)
    main.reset_changes()
    made = api.commits_api.commit(repo.id, "main", creation, source_metarange=tree)
    assert made.meta_range_id == tree
    assert paths_at(main) == ["a"]


def test_equal_trees_have_equal_metaranges(api, repo, main, put):
    """The same entries, staged in another order and over several commits, make the same tree."""
    left, right = (repo.branch(name).create("main") for name in ("left", "right"))
    put(main, "origin")
    address = main.object("origin").stat().physical_address
    creation = sdk.ObjectStageCreation(physical_address=address, checksum="c", size_bytes=6, mtime=1)
    for path in ("a", "b", "c"):
        api.internal_api.stage_object(repo.id, "left", path, creation)
    left.commit("at once")
    for path in ("c", "x", "a", "b"):
        api.internal_api.stage_object(repo.id, "right", path, creation)
        right.commit(path)
    right.object("x").delete()
    right.commit("not that one")
    trees = {api.commits_api.get_commit(repo.id, branch.head.id).meta_range_id for branch in (left, right)}
    assert len(trees) == 1


def test_commit_by_unique_prefix(repo, main, commit):
    full = commit(main, "one", "a")
    assert repo.ref(full[:12]).get_commit().id == full


def test_unknown_commit_is_404(repo, refuses):
    for ref in ("0" * 64, "no-such-ref"):
        with refuses(404):
            repo.ref(ref).get_commit()


@pytest.fixture
def history(main, commit):
    """Ten commits on main, oldest first, a day apart; each touches its own path and `every`."""
    dates = [1_600_000_000 + 86_400 * day for day in range(10)]
    return [
        commit(main, f"commit {n}", f"dir{n % 2}/own-{n}", *(["every"] if n % 3 == 0 else []), date=dates[n])
        for n in range(10)
    ]


def test_log_is_newest_first_and_ends_at_the_initial_commit(main, history):
    log = list(main.log())
    assert [found.id for found in log[:-1]] == history[::-1]
    assert log[-1].message == "Repository created"


def test_log_pages(api, repo, main, history):
    assert [found.id for found in main.log(amount=3)][:10] == history[::-1]
    page = api.refs_api.log_commits(repo.id, "main", amount=4)
    assert [found.id for found in page.results] == history[:5:-1]
    assert page.pagination.has_more
    assert page.pagination.next_offset == history[6]
    after = api.refs_api.log_commits(repo.id, "main", amount=2, after=history[6])
    assert [found.id for found in after.results] == [history[5], history[4]]
    whole = api.refs_api.log_commits(repo.id, "main", amount=1000)
    assert (whole.pagination.has_more, len(whole.results)) == (False, 11)


def test_log_of_a_commit_starts_there(repo, history):
    assert [found.id for found in repo.ref(history[4]).log(max_amount=2)] == [history[4], history[3]]
    assert next(iter(repo.ref("main~3").log())).id == history[6]


def test_log_limit_returns_just_that_many(main, history):
    assert [found.id for found in main.log(limit=True, amount=3)] == history[:6:-1]


def test_log_of_objects_and_prefixes(main, history):
    assert [found.id for found in main.log(objects=["every"])] == [history[n] for n in (9, 6, 3, 0)]
    assert [found.id for found in main.log(objects=["dir0/own-4"])] == [history[4]]
    assert [found.id for found in main.log(prefixes=["dir1/"])] == [history[n] for n in (9, 7, 5, 3, 1)]
    both = [found.id for found in main.log(objects=["dir0/own-4"], prefixes=["dir1/own-7"])]
    assert both == [history[7], history[4]]
    assert list(main.log(objects=["dir1"])) == []
    assert [found.id for found in main.log(objects=["every"], amount=1)] == [history[n] for n in (9, 6, 3, 0)]


def test_log_since_and_stop_at(repo, main, history):
    day_6 = datetime.datetime.fromtimestamp(1_600_000_000 + 86_400 * 6, tz=datetime.UTC)
    assert [found.id for found in main.log(since=day_6)][:3] == history[:6:-1]
    assert history[5] not in [found.id for found in main.log(since=day_6)]
    assert [found.id for found in main.log(stop_at=history[7])] == [history[9], history[8], history[7]]


def test_log_first_parent(repo, main, commit):
    commit(main, "base", "a")
    branch = repo.branch("b").create("main")
    side = commit(branch, "side", "b")
    commit(main, "own", "c")
    merged = branch.merge_into(main, message="merge")
    messages = [found.message for found in main.log()]
    assert messages[0] == "merge"
    assert set(messages) == {"merge", "own", "side", "base", "Repository created"}
    first_parents = [found.message for found in main.log(first_parent=True)]
    assert first_parents == ["merge", "own", "base", "Repository created"]
    assert repo.ref(merged).get_commit().parents == [repo.ref("main~1").get_commit().id, side]


def test_log_keeps_the_order_of_merges_within_a_second(repo, main, commit):
    """Dates are told in seconds and kept finer: what was made later is listed first."""
    expected = ["Repository created"]
    for number in range(12):
        branch = repo.branch(f"b{number}").create("main")
        commit(branch, f"work {number}", f"path-{number}")
        branch.merge_into(main, message=f"merge {number}")
        expected += [f"work {number}", f"merge {number}"]
    assert [found.message for found in main.log()] == expected[::-1]


def test_log_of_unknown_refs_is_404(repo, refuses):
    with refuses(404):
        list(repo.ref("none").log())
