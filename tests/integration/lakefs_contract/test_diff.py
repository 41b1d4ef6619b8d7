import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
def diverged(repo, main, commit, put):
    """left and right, both from main: {both/same, both/conflict, gone, kept/1, kept/2}."""
    commit(main, "base", "both/conflict", "gone", "kept/1", "kept/2", "left-only", content="base")
    left, right = (repo.branch(name).create("main") for name in ("left", "right"))
    put(left, "both/conflict", content="left")
    put(left, "left-only", content="left")
    put(left, "both/same", content="same")
    left.commit("left")
    put(right, "both/conflict", content="right")
    put(right, "both/same", content="same")
    put(right, "kept/2", "new/x", "new/y", content="longer")
    right.object("gone").delete()
    right.commit("right")
    return left, right


def changes(listing):
    return [(change.type, change.path) for change in listing]


def test_three_dot_is_the_default_and_shows_what_a_merge_would_bring(diverged):
    left, right = diverged
    assert changes(left.diff(right)) == [
        ("conflict", "both/conflict"),
        ("removed", "gone"),
        ("changed", "kept/2"),
        ("added", "new/x"),
        ("added", "new/y"),
    ]
    assert changes(left.diff(right, type="three_dot")) == changes(left.diff(right))


def test_two_dot_compares_the_trees(diverged):
    left, right = diverged
    assert changes(left.diff(right, type="two_dot")) == [
        ("changed", "both/conflict"),
        ("removed", "gone"),
        ("changed", "kept/2"),
        ("changed", "left-only"),
        ("added", "new/x"),
        ("added", "new/y"),
    ]
    assert changes(right.diff(left, type="two_dot")) == [
        ("changed", "both/conflict"),
        ("added", "gone"),
        ("changed", "kept/2"),
        ("changed", "left-only"),
        ("removed", "new/x"),
        ("removed", "new/y"),
    ]


def test_diff_sizes_and_path_types(diverged):
    left, right = diverged
    found = {change.path: change for change in left.diff(right, type="two_dot")}
    assert found["new/x"].size_bytes == len("longer")
    assert found["kept/2"].size_bytes == len("longer")
    assert {change.path_type for change in found.values()} == {"object"}


@pytest.mark.parametrize("kind", ["two_dot", "three_dot"])
def test_diff_by_delimiter_rolls_up_prefixes(diverged, kind):
    left, right = diverged
    found = list(left.diff(right, type=kind, delimiter="/"))
    expected = [
        ("prefix_changed", "both/", "common_prefix"),
        ("removed", "gone", "object"),
        ("prefix_changed", "kept/", "common_prefix"),
        *([("changed", "left-only", "object")] if kind == "two_dot" else []),
        ("prefix_changed", "new/", "common_prefix"),
    ]
    assert [(change.type, change.path, change.path_type) for change in found] == expected
    inside = list(left.diff(right, type=kind, delimiter="/", prefix="new/"))
    assert changes(inside) == [("added", "new/x"), ("added", "new/y")]


@pytest.mark.parametrize("kind", ["two_dot", "three_dot"])
def test_diff_prefix_after_and_pages(api, repo, diverged, kind):
    left, right = diverged
    whole = changes(left.diff(right, type=kind))
    assert changes(left.diff(right, type=kind, amount=1)) == whole
    assert changes(left.diff(right, type=kind, amount=2)) == whole
    assert changes(left.diff(right, type=kind, prefix="new/")) == [("added", "new/x"), ("added", "new/y")]
    assert changes(left.diff(right, type=kind, after="kept/2")) == [c for c in whole if c[1] > "kept/2"]
    assert changes(left.diff(right, type=kind, delimiter="/", amount=1)) == changes(
        left.diff(right, type=kind, delimiter="/")
    )
    page = api.refs_api.diff_refs(repo.id, "left", "right", type=kind, amount=2)
    assert page.pagination.has_more
    assert page.pagination.next_offset == page.results[-1].path
    assert page.pagination.results == 2


def test_diff_of_a_ref_with_itself_is_empty(main, commit, repo):
    first = commit(main, "one", "a")
    assert list(main.diff("main")) == []
    assert list(main.diff(first, type="two_dot")) == []
    assert list(repo.ref(first).diff("main")) == []


def test_diff_takes_expressions_tags_and_commits(repo, main, commit):
    commit(main, "one", "a")
    second = commit(main, "two", "b")
    repo.tag("t").create("main~1")
    for left in ("main~1", "t", repo.ref("main~1").get_commit().id):
        assert changes(repo.ref(left).diff(second, type="two_dot")) == [("added", "b")]
        assert changes(repo.ref(left).diff(second)) == [("added", "b")]
    assert changes(main.diff("t", type="two_dot")) == [("removed", "b")]
    assert list(main.diff("t")) == []


def test_diff_sees_committed_data_only(repo, main, commit, put):
    commit(main, "one", "a")
    branch = repo.branch("b").create("main")
    put(branch, "staged")
    assert list(main.diff("b")) == []


def test_diff_of_unknown_refs_is_404(repo, main, refuses):
    for left, right in (("none", "main"), ("main", "none")):
        for kind in ("two_dot", "three_dot"):
            with refuses(404):
                list(repo.ref(left).diff(right, type=kind))


def test_metadata_alone_is_a_change(repo, main, put):
    put(main, "a", content="x", metadata={"k": "1"})
    main.commit("one")
    put(main, "a", content="x", metadata={"k": "2"})
    main.commit("two")
    assert changes(repo.ref("main~1").diff("main", type="two_dot")) == [("changed", "a")]


def test_uncommitted_lists_added_changed_removed(main, commit, put):
    commit(main, "base", "change", "dir/remove", "stay")
    put(main, "add", content="four")
    put(main, "change", content="123")
    main.object("dir/remove").delete()
    main.object("never-was").delete()
    found = list(main.uncommitted())
    assert changes(found) == [("added", "add"), ("changed", "change"), ("removed", "dir/remove")]
    assert [change.size_bytes for change in found] == [4, 3, 0]
    assert {change.path_type for change in found} == {"object"}


def test_uncommitted_prefix_delimiter_and_pages(api, repo, main, put):
    put(main, "a", "d/1", "d/2", "e/1", "z")
    assert changes(main.uncommitted(amount=2)) == changes(main.uncommitted())
    assert [change.path for change in main.uncommitted(prefix="d/")] == ["d/1", "d/2"]
    assert [change.path for change in main.uncommitted(after="d/2")] == ["e/1", "z"]
    rolled = list(main.uncommitted(delimiter="/"))
    assert [(change.path, change.path_type) for change in rolled] == [
        ("a", "object"),
        ("d/", "common_prefix"),
        ("e/", "common_prefix"),
        ("z", "object"),
    ]
    page = api.branches_api.diff_branch(repo.id, "main", amount=2)
    assert (page.pagination.has_more, page.pagination.next_offset) == (True, "d/1")


def test_uncommitted_of_an_unknown_branch_is_404(repo, refuses):
    with refuses(404):
        list(repo.branch("none").uncommitted())


def test_merge_base(api, repo, diverged, main):
    found = api.refs_api.find_merge_base(repo.id, "left", "right")
    left, right = diverged
    assert found.source_commit_id == left.head.id
    assert found.destination_commit_id == right.head.id
    assert found.base_commit_id == main.head.id
