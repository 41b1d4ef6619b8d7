import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
def branches(repo, main, commit):
    """source and main, the destination, both from {a, b, c}."""
    commit(main, "base", "a", "b", "c", content="base")
    return repo.branch("source").create("main"), main


def test_merge_brings_the_changes_in_a_commit_of_two_parents(api, repo, branches, commit, paths_at):
    source, main = branches
    source_head = commit(source, "work", "new", "a")
    source.object("b").delete()
    source_head = source.commit("delete").id
    dest_head = commit(main, "elsewhere", "other")
    reference = source.merge_into(main, message="why", metadata={"run": "7"})
    assert reference == main.head.id
    merged = api.commits_api.get_commit(repo.id, reference)
    assert merged.parents == [dest_head, source_head]
    assert merged.message == "why"
    assert merged.metadata["run"] == "7"
    assert merged.metadata[".lakefs.merge.strategy"] == "default"
    assert merged.generation == 1 + max(
        api.commits_api.get_commit(repo.id, parent).generation for parent in merged.parents
    )
    assert paths_at(main) == ["a", "c", "new", "other"]
    assert source.head.id == source_head


def test_default_message(branches, commit, main):
    source, _ = branches
    commit(source, "work", "new")
    source.merge_into(main)
    assert main.get_commit().message == "Merge 'source' into 'main'"


def test_merge_of_commit_tag_and_expression(repo, branches, commit, paths_at):
    source, main = branches
    first = commit(source, "one", "n1")
    commit(source, "two", "n2")
    third = commit(source, "three", "n3")
    repo.tag("t").create(third)
    repo.ref(first).merge_into(main)
    assert paths_at(main, prefix="n") == ["n1"]
    repo.ref("source~1").merge_into(main)
    assert paths_at(main, prefix="n") == ["n1", "n2"]
    repo.tag("t").merge_into(main)
    assert paths_at(main, prefix="n") == ["n1", "n2", "n3"]


def test_nothing_to_merge_is_400_unless_allowed(branches, refuses):
    source, main = branches
    before = main.head.id
    with refuses(400, says="no changes"):
        source.merge_into(main)
    assert main.head.id == before
    reference = source.merge_into(main, allow_empty=True)
    assert reference == main.head.id != before


def test_merging_twice_is_no_changes(branches, commit, refuses):
    source, main = branches
    commit(source, "work", "new")
    source.merge_into(main)
    with refuses(400, says="no changes"):
        source.merge_into(main)


def test_dirty_destination_is_400_dirty_source_is_not_looked_at(branches, commit, put, refuses, paths_at):
    source, main = branches
    commit(source, "work", "new")
    put(source, "uncommitted")
    put(main, "dirty")
    before = main.head.id
    with refuses(400, says="dirty"):
        source.merge_into(main)
    assert main.head.id == before
    assert [change.path for change in main.uncommitted()] == ["dirty"]
    main.reset_changes()
    source.merge_into(main)
    assert paths_at(main) == ["a", "b", "c", "new"]
    assert [change.path for change in source.uncommitted()] == ["uncommitted"]


def test_staged_back_to_the_committed_value_is_clean(branches, commit, put):
    source, main = branches
    commit(source, "work", "new")
    put(main, "a", content="base")
    put(main, "gone-again")
    main.object("gone-again").delete()
    source.merge_into(main)


SIDES = ("base", "left", "right", None)


@pytest.mark.parametrize("left", SIDES)
@pytest.mark.parametrize("right", SIDES)
@pytest.mark.parametrize("in_base", [True, False])
def test_three_way_per_path(repo, main, put, refuses, left, right, in_base):
    """Every combination of what base, destination (left) and source (right) hold at one path."""
    base = "base" if in_base else None
    put(main, "other", content="base")
    if in_base:
        put(main, "p", content="base")
    main.commit("base")
    source = repo.branch("source").create("main")
    for branch, wanted, marker in ((main, left, "l"), (source, right, "r")):
        if wanted is not None:
            put(branch, "p", content=wanted)
        elif in_base:
            branch.object("p").delete()
        put(branch, marker)
        branch.commit(marker)
    merge = lambda **options: source.merge_into(main, **options)  # noqa: E731
    if left != right and left != base and right != base:
        before = main.head.id
        with refuses(409):
            merge()
        assert main.head.id == before
        assert ("conflict", "p") in [(change.type, change.path) for change in main.diff(source)]
        return
    expected = right if left == base else left
    merge()
    if expected is None:
        assert not main.object("p").exists()
    else:
        with main.object("p").reader(mode="r", pre_sign=False) as reader:
            assert reader.read() == expected
    assert main.object("l").exists()
    assert main.object("r").exists()


@pytest.fixture
def conflict(branches, commit, put):
    source, main = branches
    put(source, "a", content="source")
    put(source, "new", content="source")
    source.object("b").delete()
    source.commit("source")
    put(main, "a", "b", content="dest")
    main.object("c").delete()
    main.commit("dest")
    return source, main


def test_conflict_body_and_listing(http, repo, conflict):
    source, main = conflict
    before = main.head.id
    answer = http.post(f"/repositories/{repo.id}/refs/source/merge/main", json={})
    assert answer.status_code == 409
    assert answer.json() == {"reference": ""}
    assert main.head.id == before
    assert list(main.uncommitted()) == []
    found = [(change.type, change.path) for change in main.diff(source)]
    assert found == [("conflict", "a"), ("conflict", "b"), ("added", "new")]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("source-wins", {"a": "source", "new": "source"}),
        ("dest-wins", {"a": "dest", "b": "dest", "new": "source"}),
    ],
)
def test_strategies_decide_conflicts_only(conflict, content_at, paths_at, strategy, expected):
    source, main = conflict
    source.merge_into(main, strategy=strategy)
    assert {path: content_at("main", path) for path in paths_at(main)} == expected
    assert main.get_commit().metadata[".lakefs.merge.strategy"] == strategy


def test_unknown_strategy_is_400(conflict, refuses):
    source, main = conflict
    with refuses(400):
        source.merge_into(main, strategy="mine")


def test_squash_leaves_the_source_out_of_the_parents(repo, branches, commit, paths_at):
    source, main = branches
    commit(source, "one", "n1")
    commit(source, "two", "n2")
    before = main.head.id
    source.merge_into(main, squash_merge=True, message="squashed")
    assert main.get_commit().parents == [before]
    assert paths_at(main, prefix="n") == ["n1", "n2"]
    assert [found.message for found in main.log(max_amount=2)] == ["squashed", "base"]


def test_second_merge_starts_from_the_first(branches, commit, content_at):
    source, main = branches
    commit(source, "one", "a", content="1")
    source.merge_into(main)
    commit(source, "two", "a", content="2")
    source.merge_into(main)
    assert content_at("main", "a") == "2"


def test_merge_back_and_forth(repo, branches, commit, paths_at):
    source, main = branches
    commit(source, "s1", "s1")
    commit(main, "m1", "m1")
    source.merge_into(main)
    main.merge_into(source)
    commit(source, "s2", "s2")
    commit(main, "m2", "m2")
    main.merge_into(source)
    assert paths_at(source) == ["a", "b", "c", "m1", "m2", "s1", "s2"]


def test_unknown_refs_are_404(repo, branches, refuses):
    source, main = branches
    with refuses(404):
        repo.ref("none").merge_into(main)
    with refuses(404):
        source.merge_into("none")


def test_same_change_on_both_sides_is_no_conflict(branches, commit, content_at):
    source, main = branches
    commit(source, "same here", "a", content="same")
    commit(main, "same there", "a", content="same")
    source.merge_into(main)
    assert content_at("main", "a") == "same"


def test_merge_of_an_initial_branch(repo, main, commit, paths_at):
    source = repo.branch("source").create("main")
    commit(source, "work", "a")
    source.merge_into(main)
    assert paths_at(main) == ["a"]
