"""Commits, their history and diffs."""

import pytest

from include.stack.lakefs.engine import Engine
from include.stack.lakefs.model import (
    AlreadyExists,
    DirtyBranch,
    Entry,
    InvalidRef,
    NoChanges,
    NotFound,
    Prepared,
)
from tests.unit.lakefs.conftest import ME, REPOSITORY, Lake


def test_a_commit_record(lake: Lake) -> None:
    first = lake.head()
    lake.put("a")
    commit = lake.commit("hello", metadata={"k": "v"}, date=1_600_000_000)
    assert (commit.message, commit.committer, commit.metadata) == ("hello", ME, {"k": "v"})
    assert (commit.parents, commit.generation, commit.version) == ((first,), 2, 1)
    assert (commit.creation_date, len(commit.id), len(commit.meta_range_id)) == (1_600_000_000, 64, 64)
    assert (
        lake.engine.get_commit(REPOSITORY, "main") == commit == lake.engine.find_commit(REPOSITORY, commit.id)
    )
    assert lake.changes() == []
    with pytest.raises(NotFound, match="commit not found"):
        lake.engine.find_commit(REPOSITORY, "0" * 64)


def test_no_changes_is_refused_unless_allowed(lake: Lake) -> None:
    with pytest.raises(NoChanges, match="commit: no changes"):
        lake.commit()
    lake.save(a="1")
    lake.put("a", "1")
    lake.delete("never")
    lake.put("b")
    lake.delete("b")
    with pytest.raises(NoChanges, match="commit: no changes"):
        lake.commit()
    empty = lake.commit(allow_empty=True)
    assert empty.meta_range_id == lake.engine.get_commit(REPOSITORY, "main~1").meta_range_id
    with pytest.raises(NotFound, match="branch not found"):
        lake.commit(branch="absent")


def test_identical_content_keeps_its_first_address(lake: Lake) -> None:
    first = lake.put("a")
    lake.commit()
    lake.put("a")
    lake.put("b")
    lake.commit()
    assert lake.engine.get_entry(REPOSITORY, "main", "a").physical_address == first.physical_address


def test_what_is_written_during_a_commit_is_not_in_it_and_not_lost(lake: Lake) -> None:
    lake.put("before")

    def write(prepared: Prepared) -> None:
        lake.put("during")
        lake.put("before", "2")
        assert lake.content() == {"before": "2", "during": "1"}

    commit = lake.commit(check=write)
    assert lake.content(commit.id) == {"before": "1"}
    assert lake.changes() == [("changed", "before"), ("added", "during")]
    lake.commit()
    assert lake.content("main@") == {"before": "2", "during": "1"}


def test_a_refused_commit_changes_nothing(lake: Lake) -> None:
    lake.put("a")
    seen: list[Prepared] = []

    def refuse(prepared: Prepared) -> None:
        seen.append(prepared)
        raise ValueError("refused")

    head = lake.head()
    with pytest.raises(ValueError, match="refused"):
        lake.commit("m", check=refuse)
    assert (seen[0].branch, seen[0].commit.message, seen[0].expected_head) == ("main", "m", head)
    assert lake.head() == head
    assert lake.changes() == [("added", "a")]
    lake.put("b")
    assert lake.content(lake.commit().id) == {"a": "1", "b": "1"}


def test_a_prepared_commit_does_not_apply_to_a_branch_that_moved(lake: Lake) -> None:
    lake.put("a")
    stale = lake.engine.prepare_commit(REPOSITORY, "main", "stale", ME)
    lake.put("b")
    newer = lake.commit("newer")
    assert lake.engine.apply(stale) is None
    assert lake.head() == newer.id
    assert lake.content() == {"a": "1", "b": "1"}


def test_a_prepared_commit_does_not_apply_after_a_reset(lake: Lake) -> None:
    lake.put("a")
    stale = lake.engine.prepare_commit(REPOSITORY, "main", "stale", ME)
    lake.engine.reset(REPOSITORY, "main")
    assert lake.engine.apply(stale) is None
    lake.put("b")
    lake.engine.prepare_commit(REPOSITORY, "main", "never applied", ME)
    assert lake.engine.apply(stale) is None
    assert lake.content() == {"b": "1"}


def test_a_commit_whose_check_moves_the_branch_starts_again(lake: Lake) -> None:
    lake.branch("dev")
    lake.save(branch="dev", d="1")
    lake.put("a")
    tries: list[str] = []

    def move_once(prepared: Prepared) -> None:
        tries.append(prepared.expected_head)
        if len(tries) == 1:
            lake.engine.create_branch(REPOSITORY, "side", "main")
            lake.save(branch="side", s="1")
            other = lake.engine.prepare_commit(REPOSITORY, "main", "other", ME)
            assert lake.engine.apply(other) is not None
            lake.put("late")

    commit = lake.commit("mine", check=move_once)
    assert len(tries) == 2
    assert lake.log() == ["mine", "other", "Repository created"]
    assert lake.content(commit.id) == {"a": "1", "late": "1"}


def test_commit_of_a_given_tree_needs_a_clean_branch(lake: Lake) -> None:
    tree = lake.engine.write_metarange(REPOSITORY, [Entry("x", "data/x", checksum="1")])
    lake.put("a")
    with pytest.raises(DirtyBranch):
        lake.commit(source_metarange=tree)
    lake.engine.reset(REPOSITORY, "main")
    with pytest.raises(NotFound, match="metarange not found"):
        lake.commit(source_metarange="0" * 64)
    assert lake.commit(source_metarange=tree).meta_range_id == tree
    assert lake.content() == {"x": "1"}


def test_log_is_newest_first_and_pages(lake: Lake) -> None:
    messages = [f"c{number}" for number in range(5)]
    for message in messages:
        lake.save(message=message, a=message)
    expected = [*reversed(messages), "Repository created"]
    assert lake.log() == expected
    first = lake.engine.log(REPOSITORY, "main", amount=2)
    assert ([c.message for c in first.results], first.has_more) == (["c4", "c3"], True)
    assert first.next_offset == first.results[-1].id
    assert lake.log(after=first.next_offset) == expected[2:]
    assert lake.log(amount=2, limit=True) == ["c4", "c3"]
    assert not lake.engine.log(REPOSITORY, "main", amount=2, limit=True).has_more
    assert lake.log("main~3") == expected[3:]
    assert lake.log(stop_at="main~1") == ["c4", "c3"]
    with pytest.raises(NotFound):
        lake.log("absent")


def test_log_orders_by_date_then_id_descending(lake: Lake) -> None:
    ids = {}
    for name, date in (("x", 100), ("y", 100), ("z", 50)):
        lake.branch(name)
        lake.put("a", name, name)
        ids[name] = lake.commit(name, name, date=date).id
    lake.merge("x", "y", strategy="source-wins")
    lake.merge("z", "y", strategy="source-wins")
    x_and_y = sorted(["x", "y"], key=lambda name: ids[name], reverse=True)
    assert [m for m in lake.log("y") if len(m) == 1] == [*x_and_y, "z"]
    # The first commit is today's, but only reached once an older one was listed.
    assert [m for m in lake.log("y", since=100) if len(m) == 1] == x_and_y


def test_log_of_first_parents_and_of_paths(lake: Lake) -> None:
    lake.save(message="one", a="1")
    lake.branch("dev")
    lake.save(branch="dev", message="two", b="1")
    lake.merge("dev", message="merged")
    lake.put("p/1")
    lake.commit("three")
    lake.delete("a")
    lake.commit("four")
    assert lake.log(first_parent=True) == ["four", "three", "merged", "one", "Repository created"]
    assert lake.log(objects=["a"]) == ["four", "one"]
    assert lake.log(objects=["a", "b"]) == ["four", "two", "one"]
    assert lake.log(prefixes=["p/"]) == ["three"]
    assert lake.log(prefixes=["b"], objects=["p/1"]) == ["three", "two"]
    assert lake.log(objects=["b"], first_parent=True) == ["merged"]
    assert lake.log(prefixes=["a"], amount=1, limit=True) == ["four"]
    assert lake.log(objects=["zzz"]) == []


def test_diffs_of_two_and_three_dots(lake: Lake) -> None:
    lake.save(a="1", b="1", c="1")
    lake.branch("dev")
    lake.save(b="main", m="1")
    lake.put("a", "dev", "dev")
    lake.put("d/1", "1", "dev")
    lake.delete("c", "dev")
    lake.put("b", "dev", "dev")
    lake.commit(branch="dev")
    lake.put("z", branch="dev")
    assert lake.diff("main", "dev", type="two_dot") == [
        ("changed", "a"),
        ("changed", "b"),
        ("removed", "c"),
        ("added", "d/1"),
        ("removed", "m"),
    ]
    assert lake.diff("main", "dev") == [
        ("changed", "a"),
        ("conflict", "b"),
        ("removed", "c"),
        ("added", "d/1"),
    ]
    assert lake.diff("dev", "main") == [("conflict", "b"), ("added", "m")]
    assert lake.diff("main", "main") == lake.diff("dev", "dev", type="two_dot") == []


def test_a_diff_sees_uncommitted_changes_only_behind_a_dollar(lake: Lake) -> None:
    lake.save(a="1", b="1", c="1")
    lake.branch("dev")
    lake.save(branch="dev", a="2", b="2")
    lake.put("a", "1", "dev")
    lake.put("b", "3", "dev")
    lake.delete("c", "dev")
    lake.put("d", "1", "dev")
    assert lake.diff("main", "dev", type="two_dot") == [("changed", "a"), ("changed", "b")]
    assert lake.diff("main", "dev$", type="two_dot") == [("changed", "b"), ("removed", "c"), ("added", "d")]
    with pytest.raises(InvalidRef, match="staging area"):
        lake.diff("dev$", "main", type="two_dot")
    with pytest.raises(InvalidRef, match="staging area"):
        lake.diff("main", "dev$")


def test_diffs_page_with_prefix_and_delimiter(lake: Lake) -> None:
    lake.branch("dev")
    for path in ("a", "a/1", "a/2", "b/1", "b2", "c"):
        lake.put(path, branch="dev")
    assert lake.engine.diff_branch(REPOSITORY, "dev", prefix="a/").results[0].path == "a/1"
    lake.commit(branch="dev")
    assert lake.diff("main", "dev", delimiter="/") == [
        ("added", "a"),
        ("prefix_changed", "a/"),
        ("prefix_changed", "b/"),
        ("added", "b2"),
        ("added", "c"),
    ]
    assert lake.diff("main", "dev", prefix="a/") == [("added", "a/1"), ("added", "a/2")]
    seen: list[str] = []
    after, more = "", True
    while more:
        page = lake.engine.diff(REPOSITORY, "main", "dev", delimiter="/", after=after, amount=1)
        seen += [change.path for change in page.results]
        after, more = page.next_offset, page.has_more
    assert seen == ["a", "a/", "b/", "b2", "c"]


def test_changes_tell_sizes_and_the_right_side(lake: Lake) -> None:
    lake.save(gone="333", kept="1")
    lake.branch("dev")
    lake.delete("gone", "dev")
    lake.put("kept", "22", "dev")
    lake.commit(branch="dev")
    removed, changed = lake.engine.diff(REPOSITORY, "main", "dev").results
    assert (removed.size_bytes, removed.entry) == (3, None)
    assert changed.size_bytes == 2
    assert changed.entry is not None
    assert changed.entry.checksum == "22"


def test_commit_records_are_restored_as_given(lake: Lake, engine: Engine) -> None:
    commit = lake.save(a="1")
    engine.create_repository("copy", "s3://b/copy")
    engine.create_commit_record("copy", commit)
    with pytest.raises(AlreadyExists):
        engine.create_commit_record("copy", commit)
    assert engine.find_commit("copy", commit.id) == commit
