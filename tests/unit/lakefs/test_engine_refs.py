"""Repositories, branches, tags and ref expressions."""

import pytest

from include.stack.lakefs.engine import Engine
from include.stack.lakefs.model import (
    AlreadyExists,
    Conflict,
    DirtyBranch,
    Invalid,
    InvalidRef,
    NotFound,
    PreconditionFailed,
    Protected,
    ProtectionRule,
    ReadOnly,
)
from tests.unit.lakefs.conftest import ME, REPOSITORY, Lake


def test_a_new_repository_has_one_empty_commit(lake: Lake) -> None:
    (first,) = lake.engine.log(REPOSITORY, "main").results
    assert (first.message, first.parents, first.meta_range_id, first.generation) == (
        "Repository created",
        (),
        "",
        1,
    )
    assert len(first.id) == 64
    assert lake.content() == {}


@pytest.mark.parametrize("name", ["ab", "Repo", "-repo", "re_po", "r" * 64, "repo\n", ""])
def test_bad_repository_ids_are_refused(engine: Engine, name: str) -> None:
    with pytest.raises(Invalid, match="repository id"):
        engine.create_repository(name, "s3://b")


def test_repositories_page_by_id_with_prefix_and_search(engine: Engine) -> None:
    for name in ("aaa-x", "abb", "abc-x", "bbb"):
        engine.create_repository(name, f"s3://b/{name}")
    first = engine.list_repositories(amount=3)
    assert [r.id for r in first.results] == ["aaa-x", "abb", "abc-x"]
    assert (first.has_more, first.next_offset) == (True, "abc-x")
    assert [r.id for r in engine.list_repositories(after=first.next_offset).results] == ["bbb"]
    assert [r.id for r in engine.list_repositories(prefix="ab").results] == ["abb", "abc-x"]
    assert [r.id for r in engine.list_repositories(search="-x").results] == ["aaa-x", "abc-x"]
    with pytest.raises(AlreadyExists, match="not unique"):
        engine.create_repository("abb", "s3://b")


def test_a_deleted_repository_leaves_nothing_to_one_of_the_same_id(lake: Lake) -> None:
    lake.save(a="1")
    lake.put("b")
    lake.engine.set_metadata(REPOSITORY, {"k": "v"})
    lake.engine.delete_repository(REPOSITORY)
    with pytest.raises(NotFound, match="repository not found"):
        lake.engine.get_repository(REPOSITORY)
    lake.engine.create_repository(REPOSITORY, "s3://other")
    assert lake.content() == {}
    assert lake.engine.get_metadata(REPOSITORY) == {}
    with lake.engine._store.snapshot() as tx:
        assert tx.execute("SELECT count(*) FROM staged").fetchone() == (0,)
        assert tx.execute("SELECT count(*) FROM chunks").fetchone() == (0,)


def test_metadata_and_documents(lake: Lake) -> None:
    engine = lake.engine
    engine.set_metadata(REPOSITORY, {"a": "1", "b": "2"})
    engine.set_metadata(REPOSITORY, {"b": "3"})
    engine.delete_metadata(REPOSITORY, ["a", "absent"])
    assert engine.get_metadata(REPOSITORY) == {"b": "3"}
    assert engine.get_document(REPOSITORY, "x") is None
    first = engine.set_document(REPOSITORY, "x", b"1", if_match="")
    with pytest.raises(PreconditionFailed):
        engine.set_document(REPOSITORY, "x", b"2", if_match="")
    second = engine.set_document(REPOSITORY, "x", b"2", if_match=first.checksum)
    with pytest.raises(PreconditionFailed):
        engine.set_document(REPOSITORY, "x", b"3", if_match=first.checksum)
    assert engine.get_document(REPOSITORY, "x") == second
    assert engine.delete_document(REPOSITORY, "x")
    assert not engine.delete_document(REPOSITORY, "x")


@pytest.mark.parametrize("name", ["-x", "a/b", "a b", "a.b", "", "é", "x\n"])
def test_bad_branch_names_are_refused(lake: Lake, name: str) -> None:
    with pytest.raises(Invalid, match="branch id"):
        lake.branch(name)


@pytest.mark.parametrize(
    "name", ["@", "", "a.", "a.lock", "a/", "a..b", "a//b", "a@{b", "a^b", "a:b", "a b", "a*", "a\\b"]
)
def test_bad_tag_names_are_refused(lake: Lake, name: str) -> None:
    with pytest.raises(Invalid, match="tag id"):
        lake.engine.create_tag(REPOSITORY, name, "main")


def test_a_branch_starts_at_the_commit_not_the_staging_area(lake: Lake) -> None:
    commit = lake.save(a="1")
    lake.put("b")
    assert lake.branch("dev_1-X") == commit.id
    assert lake.content("dev_1-X") == {"a": "1"}
    with pytest.raises(AlreadyExists, match="branch already exists"):
        lake.branch("dev_1-X")
    with pytest.raises(NotFound):
        lake.branch("other", "absent")
    with pytest.raises(InvalidRef, match="staging area"):
        lake.branch("other", "main$")


def test_a_name_cannot_mean_two_things(lake: Lake) -> None:
    commit = lake.save(a="1")
    lake.engine.create_tag(REPOSITORY, "v1", "main")
    with pytest.raises(Conflict, match="tag ID v1"):
        lake.branch("v1")
    with pytest.raises(Conflict, match="branch name main"):
        lake.engine.create_tag(REPOSITORY, "main", "main")
    with pytest.raises(Conflict, match="commit ID"):
        lake.branch(commit.id)


def test_branches_page_by_name_and_hide_the_hidden(lake: Lake) -> None:
    for name in ("b1", "b2", "c"):
        lake.branch(name)
    lake.engine.create_branch(REPOSITORY, "b3", "main", hidden=True)
    listed = lake.engine.list_branches
    assert [ref.id for ref in listed(REPOSITORY).results] == ["b1", "b2", "c", "main"]
    assert [ref.id for ref in listed(REPOSITORY, show_hidden=True, prefix="b").results] == ["b1", "b2", "b3"]
    page = listed(REPOSITORY, prefix="b", amount=1)
    assert ([ref.id for ref in page.results], page.has_more, page.next_offset) == (["b1"], True, "b1")
    assert [ref.id for ref in listed(REPOSITORY, prefix="b", after="b1").results] == ["b2"]
    lake.save(branch="b3", a="1")
    assert "b3" not in [ref.id for ref in listed(REPOSITORY).results]  # a commit does not unhide it


def test_deleting_branches(lake: Lake) -> None:
    lake.branch("dev")
    lake.put("a", branch="dev")
    lake.engine.delete_branch(REPOSITORY, "dev")
    with pytest.raises(NotFound, match="branch not found"):
        lake.engine.get_branch(REPOSITORY, "dev")
    with pytest.raises(NotFound, match="branch not found"):
        lake.engine.delete_branch(REPOSITORY, "dev")
    with pytest.raises(Protected, match="default branch"):
        lake.engine.delete_branch(REPOSITORY, "main")
    lake.branch("dev")
    assert lake.content("dev") == {}


def test_hard_reset_moves_a_clean_branch(lake: Lake) -> None:
    first = lake.save(a="1")
    lake.save(a="2", b="1")
    lake.put("c")
    with pytest.raises(DirtyBranch, match="dirty branch"):
        lake.engine.set_branch(REPOSITORY, "main", first.id)
    lake.delete("c")
    lake.put("a", "3")
    lake.put("a", "2")  # back to what is committed: no change here, but one upon the first commit
    assert lake.engine.set_branch(REPOSITORY, "main", "main~1").commit_id == first.id
    assert lake.content() == {"a": "1"}
    assert lake.changes() == []


def test_tags_are_immutable_and_page_by_name(lake: Lake) -> None:
    commit = lake.save(a="1")
    assert lake.engine.create_tag(REPOSITORY, "v1~rc/2", "main").commit_id == commit.id
    lake.engine.create_tag(REPOSITORY, "v2", commit.id[:10])
    with pytest.raises(AlreadyExists, match="tag already exists"):
        lake.engine.create_tag(REPOSITORY, "v2", "main")
    assert [ref.id for ref in lake.engine.list_tags(REPOSITORY, amount=1).results] == ["v1~rc/2"]
    assert [ref.id for ref in lake.engine.list_tags(REPOSITORY, after="v1~rc/2").results] == ["v2"]
    lake.engine.delete_tag(REPOSITORY, "v2")
    with pytest.raises(NotFound, match="tag not found"):
        lake.engine.get_tag(REPOSITORY, "v2")
    with pytest.raises(NotFound, match="tag not found"):
        lake.engine.delete_tag(REPOSITORY, "v2")


def test_ref_expressions(lake: Lake) -> None:
    one = lake.save(a="1")
    two = lake.save(a="2")
    lake.branch("dev", one.id)
    side = lake.save(branch="dev", b="1")
    merged = lake.merge("dev")
    lake.engine.create_tag(REPOSITORY, "v", "main")
    lake.put("c")
    meaning = {
        "main": merged.id,
        "main@": merged.id,
        "main$": merged.id,
        "v": merged.id,
        "main~0": merged.id,
        "main^0": merged.id,
        "main^": two.id,
        "main^1": two.id,
        "main^2": side.id,
        "main~": two.id,
        "main~1": two.id,
        "main~2": one.id,
        "main^2~1": one.id,
        "main^2^": one.id,
        "v~1": two.id,
        merged.id: merged.id,
        f"{merged.id}~2": one.id,
        merged.id[:12]: merged.id,
        f"{merged.id[:12]}^2": side.id,
    }
    assert {text: lake.engine.resolve(REPOSITORY, text).commit_id for text in meaning} == meaning
    assert "c" in lake.content("main")
    assert "c" in lake.content("main$")
    for committed in ("main@", "main~0", "v", merged.id):
        assert "c" not in lake.content(committed)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("absent", NotFound),
        ("main~9", NotFound),
        ("main^2", InvalidRef),
        ("main~x", InvalidRef),
        ("main$1", InvalidRef),
        ("main@~1", InvalidRef),
        ("main~1$", InvalidRef),
        ("v@", InvalidRef),
        ("v$", InvalidRef),
        ("~1", InvalidRef),
        ("", InvalidRef),
        ("ma in", InvalidRef),
        ("f" * 64, NotFound),
    ],
)
def test_bad_ref_expressions(lake: Lake, text: str, error: type[Exception]) -> None:
    lake.engine.create_tag(REPOSITORY, "v", "main")
    with pytest.raises(error):
        lake.engine.resolve(REPOSITORY, text)


def test_an_ambiguous_prefix_is_not_found_and_a_branch_goes_before_a_prefix(lake: Lake) -> None:
    ids = [lake.save(a=str(number)).id for number in range(40)]
    shared = next(i[0] for i in ids if sum(other[0] == i[0] for other in ids) > 1)
    with pytest.raises(NotFound, match="ambiguous"):
        lake.engine.resolve(REPOSITORY, shared)
    lake.branch(ids[0][:9], ids[1])
    assert lake.engine.resolve(REPOSITORY, ids[0][:9]).commit_id == ids[1]
    assert lake.engine.find_commit(REPOSITORY, ids[0][:20]).id == ids[0]


def test_protected_branches_take_merges_only(lake: Lake) -> None:
    checksum = lake.engine.set_protection_rules(REPOSITORY, [ProtectionRule("ma*")], if_match="")
    for refused in (
        lambda: lake.put("a"),
        lambda: lake.delete("a"),
        lambda: lake.engine.reset(REPOSITORY, "main"),
    ):
        with pytest.raises(Protected, match="cannot write to protected branch"):
            refused()
    with pytest.raises(Protected, match="cannot commit to protected branch"):
        lake.commit()
    lake.branch("dev")
    lake.save(branch="dev", a="1")
    lake.merge("dev")
    assert lake.content() == {"a": "1"}
    lake.engine.revert(
        REPOSITORY, "main", "main", ME, parent_number=1
    )  # as lakeFS: revert is no plain commit
    assert lake.content() == {}
    assert lake.engine.get_protection_rules(REPOSITORY) == ([ProtectionRule("ma*")], checksum)
    lake.engine.set_protection_rules(REPOSITORY, [ProtectionRule("main", ("commit",))], if_match=checksum)
    lake.put("b")
    with pytest.raises(Protected, match="cannot commit"):
        lake.commit()


def test_a_read_only_repository_takes_writes_by_force_only(engine: Engine) -> None:
    engine.create_repository("frozen", "s3://b", read_only=True)
    assert engine.get_repository("frozen").read_only
    refused = [
        lambda force: engine.create_branch("frozen", "dev", "main", force=force),
        lambda force: engine.create_tag("frozen", "v", "main", force=force),
        lambda force: engine.commit("frozen", "main", "m", ME, allow_empty=True, force=force),
        lambda force: engine.merge("frozen", "main", "dev", ME, allow_empty=True, force=force),
        lambda force: engine.set_branch("frozen", "dev", "main", force=force),
        lambda force: engine.reset("frozen", "main", force=force),
        lambda force: engine.delete_many("frozen", "main", ["a"], force=force),
        lambda force: engine.delete_tag("frozen", "v", force=force),
        lambda force: engine.delete_branch("frozen", "dev", force=force),
        lambda force: engine.delete_repository("frozen", force=force),
    ]
    for act in refused:
        with pytest.raises(ReadOnly, match="read-only repository"):
            act(False)
        act(True)
