import pytest
from lakefs.exceptions import NotFoundException, TransactionException

pytestmark = pytest.mark.integration


def test_transaction_commits_merges_and_cleans_up(repo, main, put, paths_at):
    before = main.head.id
    with main.transact(commit_message="mine", commit_metadata={"k": "v"}, tag="done") as tx:
        assert tx.get_commit().id == before
        assert [branch.id for branch in repo.branches()] == ["main"]
        put(tx, "a", "b/c", "drop/d")
        tx.reset_changes("common_prefix", "drop")
        assert paths_at(main) == []
        name = tx.id
    assert paths_at(main) == ["a", "b/c"]
    log = list(main.log(max_amount=2))
    assert [commit.message for commit in log] == [f"Merge transaction {name} to branch", "mine"]
    assert log[1].metadata == {"k": "v"}
    assert repo.tag("done").get_commit().id == main.head.id
    with pytest.raises(NotFoundException):
        repo.branch(name).get_commit()
    assert [branch.id for branch in repo.branches(show_hidden=True)] == ["main"]


@pytest.mark.parametrize("cleanup", [True, False])
def test_an_exception_rolls_back(repo, main, put, cleanup):
    before = main.head.id

    def fail():
        with main.transact(commit_message="mine", delete_branch_on_error=cleanup) as tx:
            put(tx, "a")
            raise ValueError(tx.id)

    with pytest.raises(ValueError, match="tx-") as caught:
        fail()
    assert main.head.id == before
    assert list(main.objects()) == []
    kept = [branch.id for branch in repo.branches(show_hidden=True)]
    assert kept == (["main"] if cleanup else ["main", str(caught.value)])


def test_nothing_written_is_no_changes(repo, main):
    with pytest.raises(TransactionException, match="no changes"), main.transact(commit_message="mine"):
        pass
    assert [branch.id for branch in repo.branches(show_hidden=True)] == ["main"]


def test_a_dirty_source_branch_refuses(repo, main, put):
    before = main.head.id

    def run():
        with main.transact(commit_message="mine") as tx:
            put(tx, "a")
            put(main, "dirty")

    with pytest.raises(TransactionException, match="dirty branch"):
        run()
    assert main.head.id == before
    assert [branch.id for branch in repo.branches(show_hidden=True)] == ["main"]


def test_a_conflict_refuses(main, put, commit, content_at):
    def run():
        with main.transact(commit_message="mine") as tx:
            put(tx, "a", content="mine")
            commit(main, "theirs", "a", content="theirs")

    with pytest.raises(TransactionException, match="Conflict"):
        run()
    assert content_at("main", "a") == "theirs"
    assert main.get_commit().message == "theirs"


def test_other_paths_of_a_moved_branch_merge(main, put, commit, paths_at):
    with main.transact(commit_message="mine") as tx:
        put(tx, "mine")
        commit(main, "theirs", "theirs")
    assert paths_at(main) == ["mine", "theirs"]
