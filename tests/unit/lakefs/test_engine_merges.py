"""Merge, revert, cherry-pick and import."""

import pytest

from include.stack.lakefs.model import (
    Conflict,
    DirtyBranch,
    Entry,
    Invalid,
    InvalidRef,
    MergeStrategy,
    NoChanges,
    NotFound,
    Prepared,
)
from tests.unit.lakefs.conftest import ME, REPOSITORY, Lake


def diverge(lake: Lake) -> None:
    """main and dev both changed x, each added one object and removed one."""
    lake.save(x="0", gone_here="0", gone_there="0", same="0")
    lake.branch("dev")
    lake.put("x", "main")
    lake.put("here")
    lake.delete("gone_here")
    lake.put("same", "1")
    lake.commit()
    lake.put("x", "dev", "dev")
    lake.put("there", "1", "dev")
    lake.delete("gone_there", "dev")
    lake.put("same", "1", "dev")
    lake.commit(branch="dev")


def test_a_merge_commit(lake: Lake) -> None:
    lake.save(a="1")
    lake.branch("dev")
    theirs = lake.save(branch="dev", b="1")
    ours = lake.save(c="1")
    merged = lake.merge("dev", metadata={"k": "v"})
    assert merged.parents == (ours.id, theirs.id)
    assert merged.message == "Merge 'dev' into 'main'"
    assert merged.metadata == {"k": "v", ".lakefs.merge.strategy": "default"}
    assert merged.generation == 1 + max(ours.generation, theirs.generation)
    assert lake.head() == merged.id
    assert lake.content() == {"a": "1", "b": "1", "c": "1"}
    assert lake.merge("dev", message="again", allow_empty=True).message == "again"


@pytest.mark.parametrize(("strategy", "winner"), [("source-wins", "dev"), ("dest-wins", "main")])
def test_strategies_decide_conflicts_only(lake: Lake, strategy: str, winner: str) -> None:
    diverge(lake)
    merged = lake.merge("dev", strategy=MergeStrategy(strategy))
    assert lake.content() == {"x": winner, "here": "1", "there": "1", "same": "1"}
    assert merged.metadata == {".lakefs.merge.strategy": strategy}


def test_a_conflict_names_its_paths_and_changes_nothing(lake: Lake) -> None:
    diverge(lake)
    before, content = lake.head(), lake.content()
    with pytest.raises(Conflict, match="conflict found") as caught:
        lake.merge("dev")
    assert caught.value.paths == ("x",)
    assert (lake.head(), lake.content(), lake.changes()) == (before, content, [])


@pytest.mark.parametrize("strategy", list(MergeStrategy))
def test_deleted_here_changed_there_and_the_reverse(lake: Lake, strategy: MergeStrategy) -> None:
    lake.save(d="0", e="0", z="0")
    lake.branch("dev")
    lake.delete("d")
    lake.save(e="main")
    lake.put("d", "dev", "dev")
    lake.delete("e", "dev")
    lake.commit(branch="dev")
    assert lake.diff("main", "dev") == [("conflict", "d"), ("conflict", "e")]
    if strategy is MergeStrategy.NONE:
        with pytest.raises(Conflict) as caught:
            lake.merge("dev")
        assert caught.value.paths == ("d", "e")
        return
    lake.merge("dev", strategy=strategy)
    wins = {
        MergeStrategy.SOURCE_WINS: {"d": "dev", "z": "0"},
        MergeStrategy.DEST_WINS: {"e": "main", "z": "0"},
    }
    assert lake.content() == wins[strategy]


def test_nothing_to_merge(lake: Lake) -> None:
    lake.save(a="1")
    lake.branch("dev")
    for source in ("dev", "main", "main~1"):
        with pytest.raises(NoChanges, match="no changes"):
            lake.merge(source)
    lake.merge("dev", force=True)
    lake.save(branch="dev", b="1")
    lake.merge("dev")
    with pytest.raises(NoChanges):
        lake.merge("dev")


def test_merging_the_same_change_made_on_both_sides_commits(lake: Lake) -> None:
    lake.branch("dev")
    ours = lake.save(a="1")
    lake.save(branch="dev", a="1")
    assert lake.merge("dev").meta_range_id == ours.meta_range_id


def test_a_merge_needs_a_clean_destination_but_not_a_clean_source(lake: Lake) -> None:
    lake.branch("dev")
    lake.save(branch="dev", a="1")
    lake.put("uncommitted", branch="dev")
    lake.put("b")
    with pytest.raises(DirtyBranch, match=r"uncommitted changes \(dirty branch\)"):
        lake.merge("dev")
    lake.engine.reset(REPOSITORY, "main")
    lake.merge("dev")
    assert lake.content() == {"a": "1"}
    assert lake.changes("dev") == [("added", "uncommitted")]


def test_staged_edits_that_change_nothing_do_not_undo_what_is_merged(lake: Lake) -> None:
    lake.save(a="1")
    lake.branch("dev")
    lake.save(branch="dev", a="2")
    lake.put("a", "1")
    lake.merge("dev")
    assert lake.content() == {"a": "2"}
    assert lake.changes() == []


def test_what_is_written_during_a_merge_stays_uncommitted_upon_it(lake: Lake) -> None:
    lake.branch("dev")
    lake.save(branch="dev", a="1")
    merged = lake.merge("dev", check=lambda prepared: lake.put("late") and None)
    assert lake.head() == merged.id
    assert lake.content("main@") == {"a": "1"}
    assert lake.changes() == [("added", "late")]


def test_a_merge_does_not_drop_what_a_commit_under_way_sealed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write and the commit's seal fall between the merge's own seal and its reading of the branch."""
    lake.branch("dev")
    lake.save(branch="dev", a="1")
    seal = lake.engine._write

    def seal_then_be_overtaken(*args: object) -> object:
        monkeypatch.undo()
        sealed: object = seal(*args)  # type: ignore[arg-type]
        lake.put("b")
        lake.engine.prepare_commit(REPOSITORY, "main", "under way", ME)
        return sealed

    monkeypatch.setattr(lake.engine, "_write", seal_then_be_overtaken)
    with pytest.raises(DirtyBranch):
        lake.merge("dev")
    assert lake.changes() == [("added", "b")]


def test_a_merge_takes_in_what_was_committed_meanwhile(lake: Lake) -> None:
    lake.branch("dev")
    lake.save(branch="dev", a="1")
    tries: list[Prepared] = []

    def commit_once(prepared: Prepared) -> None:
        tries.append(prepared)
        if len(tries) == 1:
            lake.save(b="1")

    lake.merge("dev", check=commit_once)
    assert len(tries) == 2
    assert lake.content() == {"a": "1", "b": "1"}


def test_squash_leaves_the_source_out_of_the_parents(lake: Lake) -> None:
    lake.branch("dev")
    lake.save(branch="dev", a="1")
    lake.save(branch="dev", b="1")
    head = lake.head()
    assert lake.merge("dev", squash=True).parents == (head,)
    assert lake.content() == {"a": "1", "b": "1"}
    assert lake.diff("main", "dev", type="two_dot") == []


def test_merge_refs(lake: Lake) -> None:
    lake.branch("dev")
    commit = lake.save(branch="dev", a="1")
    lake.save(branch="dev", b="1")
    lake.merge(commit.id[:16])
    assert lake.content() == {"a": "1"}
    with pytest.raises(NotFound):
        lake.merge("absent")
    with pytest.raises(NotFound, match="branch not found"):
        lake.merge("dev", "absent")
    with pytest.raises(InvalidRef, match="staging area"):
        lake.merge("dev$")


def test_the_merge_base_is_the_best_common_ancestor(lake: Lake) -> None:
    lake.save(a="0")
    lake.branch("dev")
    side = lake.save(branch="dev", a="1")
    lake.branch("other")
    assert lake.engine.merge_base(REPOSITORY, "dev", "main").base_commit_id == lake.head("main")
    lake.merge("dev", "main")
    lake.merge("dev", "other", allow_empty=True)
    # Both merged dev: their base is dev's commit, not the older one that is a parent of both as well.
    found = lake.engine.merge_base(REPOSITORY, "main", "other")
    assert (found.source_commit_id, found.destination_commit_id) == (lake.head("main"), lake.head("other"))
    assert found.base_commit_id == side.id
    lake.put("a", "2", "main")
    lake.commit(branch="main")
    lake.merge("main", "other")
    assert lake.content("other") == {"a": "2"}


def test_revert_undoes_one_commit(lake: Lake) -> None:
    lake.save(a="1", b="1")
    bad = lake.save(a="2", c="1")
    lake.save(d="1")
    reverted = lake.engine.revert(REPOSITORY, "main", bad.id, ME, metadata={"k": "v"})
    assert lake.content() == {"a": "1", "b": "1", "d": "1"}
    assert (reverted.message, reverted.metadata) == (f"Revert {bad.id}", {"k": "v"})
    assert len(reverted.parents) == 1
    with pytest.raises(NoChanges):
        lake.engine.revert(REPOSITORY, "main", bad.id, ME)
    assert lake.engine.revert(REPOSITORY, "main", bad.id, ME, allow_empty=True, message="x").message == "x"


def test_revert_of_what_changed_since_is_a_conflict(lake: Lake) -> None:
    lake.save(a="1")
    bad = lake.save(a="2")
    lake.save(a="3")
    with pytest.raises(Conflict, match="conflict found") as caught:
        lake.engine.revert(REPOSITORY, "main", bad.id, ME)
    assert caught.value.paths == ("a",)
    lake.put("b")
    with pytest.raises(DirtyBranch):
        lake.engine.revert(REPOSITORY, "main", "main", ME)


def test_revert_of_a_merge_needs_a_parent_number(lake: Lake) -> None:
    lake.branch("dev")
    lake.save(branch="dev", a="1")
    lake.save(b="1")
    merged = lake.merge("dev")
    with pytest.raises(Conflict, match="must specify 1-based parent number"):
        lake.engine.revert(REPOSITORY, "main", merged.id, ME)
    with pytest.raises(Invalid, match="does not have the given parent number"):
        lake.engine.revert(REPOSITORY, "main", merged.id, ME, parent_number=3)
    lake.engine.revert(REPOSITORY, "main", merged.id, ME, parent_number=2)
    assert lake.content() == {"a": "1"}
    with pytest.raises(NoChanges):
        lake.engine.revert(REPOSITORY, "main", "main~3", ME)  # the first commit, which changed nothing


def test_cherry_pick_repeats_one_commit(lake: Lake) -> None:
    lake.save(a="1")
    lake.branch("dev")
    lake.save(branch="dev", b="1")
    picked = lake.save(branch="dev", message="pick me", c="1")
    commit = lake.engine.cherry_pick(REPOSITORY, "main", picked.id, "other")
    assert lake.content() == {"a": "1", "c": "1"}
    assert (commit.message, commit.committer) == ("pick me", "other")
    assert commit.metadata == {"cherry-pick-origin": picked.id, "cherry-pick-committer": ME}
    merged = lake.merge("dev")
    with pytest.raises(Invalid, match="must specify 1-based parent number"):
        lake.engine.cherry_pick(REPOSITORY, "dev", merged.id, ME)
    with pytest.raises(Invalid, match="does not have the given parent number"):
        lake.engine.cherry_pick(REPOSITORY, "dev", merged.id, ME, parent_number=3)
    lake.branch("old", "main~3")
    lake.engine.cherry_pick(REPOSITORY, "old", merged.id, ME, parent_number=1, message="m", metadata={})
    assert lake.content("old") == {"b": "1"}


def test_cherry_pick_of_a_different_change_is_a_conflict(lake: Lake) -> None:
    lake.branch("dev")
    picked = lake.save(branch="dev", a="dev")
    lake.save(a="main")
    with pytest.raises(Conflict):
        lake.engine.cherry_pick(REPOSITORY, "main", picked.id, ME)


def imported(*paths: str) -> list[Entry]:
    return [Entry(path, f"s3://elsewhere/{path}", "full", checksum="new") for path in paths]


def test_import_replaces_what_lies_under_the_prefixes(lake: Lake) -> None:
    lake.save(**{"in/1": "old", "in/2": "old", "in2": "old", "out": "old", "file": "old"})
    entries = imported("in/9", "in/2", "file")
    commit = lake.engine.import_entries(
        REPOSITORY, "main", entries, ["in/", "file"], ME, "imported", {"k": "v"}
    )
    assert lake.content() == {"in/2": "new", "in/9": "new", "in2": "old", "out": "old", "file": "new"}
    assert commit.metadata == {"k": "v", ".lakefs.merge.strategy": "source-wins"}
    assert commit.message == "imported"
    assert lake.engine.get_entry(REPOSITORY, "main", "in/2").address_type == "full"
    assert lake.engine.get_metadata(REPOSITORY) == {
        ".lakefs.last.import.timestamp": str(commit.creation_date)
    }


def test_import_takes_entries_in_any_order_and_the_last_of_equal_paths(lake: Lake) -> None:
    lake.save(**{"p/q/old": "old", "p/old": "old", "z": "old"})
    entries = [*imported("p/b", "p/a", "p/q/c"), Entry("p/a", "s3://x", "full", checksum="last")]
    lake.engine.import_entries(REPOSITORY, "main", iter(entries), ["p/q/", "p/"], ME)
    assert lake.content() == {"p/a": "last", "p/b": "new", "p/q/c": "new", "z": "old"}
    lake.engine.import_entries(REPOSITORY, "main", [], [""], ME)
    assert lake.content() == {}


def test_import_needs_a_clean_branch(lake: Lake) -> None:
    lake.put("a")
    with pytest.raises(DirtyBranch):
        lake.engine.import_entries(REPOSITORY, "main", imported("b"), ["b"], ME)
    with pytest.raises(Invalid, match="path"):
        lake.engine.import_entries(REPOSITORY, "main", imported(""), [""], ME)
    assert lake.content() == {"a": "1"}


def test_a_large_import_is_stored_as_it_is_built(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.stack.lakefs.engine.trees._FLUSH_BYTES", 1)
    entries = (
        Entry(f"n/{number:05d}", f"s3://b/{number}", "full", size_bytes=number) for number in range(5000)
    )
    lake.engine.import_entries(REPOSITORY, "main", entries, ["n/"], ME)
    assert len(lake.content()) == 5000
