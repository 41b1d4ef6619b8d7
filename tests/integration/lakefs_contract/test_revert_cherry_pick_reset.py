from typing import Any

import lakefs_sdk
import pytest

pytestmark = pytest.mark.integration
sdk: Any = lakefs_sdk


def test_revert_undoes_one_commit_in_a_new_one(repo, main, commit, content_at):
    commit(main, "one", "a", "keep", content="1")
    second = commit(main, "two", "a", "added", content="2")
    main.object("keep").delete()
    third = main.commit("three").id
    reverted = main.revert(second)
    assert reverted.message == f"Revert {second}"
    assert reverted.parents == [third]
    assert content_at("main", "a") == "1"
    assert not main.object("added").exists()
    assert not main.object("keep").exists()


def test_revert_of_the_head_by_reference(main, commit, content_at):
    commit(main, "one", "a", content="1")
    commit(main, "two", "a", content="2")
    assert main.revert(main.head).message.startswith("Revert")
    assert content_at("main", "a") == "1"


def test_revert_answers_204(http, repo, main, commit):
    commit(main, "one", "a")
    commit(main, "two", "a")
    answer = http.post(
        f"/repositories/{repo.id}/branches/main/revert", json={"ref": "main", "parent_number": 0}
    )
    assert (answer.status_code, answer.content) == (204, b"")


def test_revert_conflict_is_409(main, commit, refuses, content_at):
    first = commit(main, "one", "a", content="1")
    commit(main, "two", "a", content="2")
    before = main.head.id
    with refuses(409):
        main.revert(first)
    assert main.head.id == before
    assert content_at("main", "a") == "2"


def test_revert_on_a_dirty_branch_is_400(main, commit, put, refuses):
    commit(main, "one", "a")
    put(main, "dirty")
    with refuses(400, says="dirty"):
        main.revert(main.head)


def test_revert_twice_is_no_changes_unless_allowed(api, repo, main, commit, refuses):
    commit(main, "one", "a")
    second = commit(main, "two", "b")
    main.revert(second)
    with refuses(400, says="no changes"):
        main.revert(repo.ref(main.commit("empty", allow_empty=True).id))
    api.branches_api.revert_branch(
        repo.id, "main", sdk.RevertCreation(ref="main", parent_number=0, allow_empty=True)
    )


@pytest.fixture
def merged(repo, main, commit):
    commit(main, "base", "a")
    source = repo.branch("source").create("main")
    commit(source, "side", "s")
    commit(main, "own", "m")
    return source.merge_into(main)


def test_revert_of_a_merge_needs_a_parent_number(main, merged, refuses, paths_at):
    with refuses(409):
        main.revert(merged)
    with refuses(400):
        main.revert(merged, parent_number=3)
    main.revert(merged, parent_number=1)
    assert paths_at(main) == ["a", "m"]


def test_revert_of_a_merge_to_its_other_parent(main, merged, paths_at):
    main.revert(merged, parent_number=2)
    assert paths_at(main) == ["a", "s"]


def test_revert_unknown(repo, main, refuses):
    with refuses(404):
        main.revert("none")
    with refuses(404):
        repo.branch("none").revert("main")


def test_cherry_pick_repeats_one_commit(repo, main, commit, put, content_at, paths_at):
    commit(main, "base", "a", "x", content="1")
    source = repo.branch("source").create("main")
    commit(source, "not this", "n")
    put(source, "a", content="2")
    source.object("x").delete()
    put(source, "y")
    origin = source.commit("this", metadata={"k": "v"}).get_commit()
    own = commit(main, "own", "m")
    picked = main.cherry_pick(source.head)
    assert picked.message == "this"
    assert picked.metadata == {
        "k": "v",
        "cherry-pick-origin": origin.id,
        "cherry-pick-committer": origin.committer,
    }
    assert picked.parents == [own]
    assert main.head.id == picked.id
    assert paths_at(main) == ["a", "m", "y"]
    assert content_at("main", "a") == "2"


def test_cherry_pick_conflict_is_409(repo, main, commit, refuses, content_at):
    commit(main, "base", "a", content="1")
    source = repo.branch("source").create("main")
    commit(source, "two", "a", content="2")
    commit(source, "three", "a", content="3")
    before = main.head.id
    with refuses(409):
        main.cherry_pick("source")
    assert main.head.id == before
    main.cherry_pick("source~1")
    main.cherry_pick("source")
    assert content_at("main", "a") == "3"


def test_cherry_pick_dirty_empty_unknown(repo, main, commit, put, refuses):
    first = commit(main, "one", "a")
    with refuses(400, says="no changes"):
        repo.branch("b").create("main").cherry_pick(main.commit("empty", allow_empty=True))
    with refuses(404):
        main.cherry_pick("none")
    put(main, "dirty")
    with refuses(400, says="dirty"):
        main.cherry_pick(first)


def test_cherry_pick_of_a_merge_needs_a_parent_number(repo, main, merged, refuses, paths_at):
    other = repo.branch("other").create("main~2")
    with refuses(400):
        other.cherry_pick(merged)
    with refuses(400):
        other.cherry_pick(merged, parent_number=3)
    other.cherry_pick(merged, parent_number=1)
    assert paths_at(other) == ["a", "s"]


@pytest.fixture
def dirty(main, commit, put):
    commit(main, "base", "a", "dir/x", "gone", content="base")
    put(main, "a", "b", "dir/x", "dir/y", "dir2/z", content="staged")
    main.object("gone").delete()
    return main


def uncommitted(branch):
    return [(change.type, change.path) for change in branch.uncommitted()]


def test_reset_of_everything(dirty, content_at, paths_at):
    dirty.reset_changes()
    assert uncommitted(dirty) == []
    assert paths_at(dirty) == ["a", "dir/x", "gone"]
    assert content_at("main", "a") == "base"


def test_reset_of_one_object(dirty, content_at):
    for path in ("a", "b", "gone"):
        dirty.reset_changes("object", path)
    assert uncommitted(dirty) == [("changed", "dir/x"), ("added", "dir/y"), ("added", "dir2/z")]
    assert content_at("main", "a") == "base"
    assert dirty.object("gone").exists()
    assert not dirty.object("b").exists()


def test_reset_of_a_prefix(dirty):
    dirty.reset_changes("common_prefix", "dir/")
    assert uncommitted(dirty) == [("changed", "a"), ("added", "b"), ("added", "dir2/z"), ("removed", "gone")]
    dirty.reset_changes("common_prefix", "dir")
    assert uncommitted(dirty) == [("changed", "a"), ("added", "b"), ("removed", "gone")]


def test_reset_of_what_has_no_changes_succeeds(dirty):
    before = uncommitted(dirty)
    dirty.reset_changes("object", "dir/")
    dirty.reset_changes("object", "never-was")
    dirty.reset_changes("common_prefix", "never/")
    assert uncommitted(dirty) == before


def test_reset_then_commit_takes_the_rest(dirty, paths_at):
    dirty.reset_changes("common_prefix", "dir")
    dirty.commit("the rest")
    assert paths_at(dirty) == ["a", "b", "dir/x"]


def test_reset_unknown_kind_and_branch(http, repo, refuses):
    url = f"/repositories/{repo.id}/branches/main"
    assert http.put(url, json={"type": "everything"}).status_code == 400
    with refuses(404):
        repo.branch("none").reset_changes()
