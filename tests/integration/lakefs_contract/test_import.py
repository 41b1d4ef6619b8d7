from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from lakefs.exceptions import ImportManagerException

pytestmark = pytest.mark.integration

QUICK = timedelta(milliseconds=50)


@pytest.fixture
def source(target, new_repository, put):
    """Objects that already lie in the object store: those of another repository, by physical address."""
    if not target.storage.import_support:
        pytest.skip("this server cannot import, and says so in /config")
    branch = new_repository().branch("main")
    put(branch, "one", "two")
    return {path: branch.object(path).stat().physical_address for path in ("one", "two")}


@pytest.fixture
def prefix(target):
    """A prefix of the bucket with 30 objects, `n/00` to `n/29`, and one beside it."""
    if target.s3 is None:
        pytest.skip("the store cannot be written from here")
    for number in range(30):
        target.s3.put_object(Bucket=target.bucket, Key=f"landing/n/{number:02d}", Body=f"{number}".encode())
    target.s3.put_object(Bucket=target.bucket, Key="landing/not", Body=b"x")
    return f"s3://{target.bucket}/landing/n/"


def test_import_objects(target, source, main, content_at, paths_at):
    before = main.head.id
    manager = main.import_data("imported", metadata={"k": "v"})
    manager.object(source["one"], "in/1").object(source["two"], "in/2")
    status = manager.run(QUICK)
    assert status.completed
    assert status.error is None
    assert status.ingested_objects == 2
    assert status.commit.id == main.head.id
    commit = main.get_commit()
    assert (commit.message, commit.parents) == ("imported", [before])
    assert commit.metadata["k"] == "v"
    assert paths_at(main) == ["in/1", "in/2"]
    assert list(main.uncommitted()) == []
    assert content_at("main", "in/1") == "one"
    assert main.object("in/1").stat().physical_address == source["one"]


def test_import_prefix(prefix, main, paths_at, content_at, commit):
    commit(main, "before", "in/stale", "other")
    status = main.import_data("imported").prefix(prefix, "in/").run(QUICK)
    assert status.ingested_objects == 30
    assert paths_at(main) == [*(f"in/{number:02d}" for number in range(30)), "other"]
    assert content_at("main", "in/17") == "17"
    assert main.object("in/17").stat().size_bytes == 2


def test_imported_objects_survive_a_merge(prefix, repo, main, paths_at):
    branch = repo.branch("b").create("main")
    branch.import_data("imported").prefix(prefix, "in/").run(QUICK)
    branch.merge_into(main)
    assert len(paths_at(main)) == 30


def test_import_needs_a_clean_branch(source, main, put, paths_at):
    put(main, "dirty")
    before = main.head.id
    with pytest.raises(Exception, match=r"dirty|uncommitted"):
        main.import_data("x").object(source["one"], "in/1").run(QUICK)
    assert main.head.id == before
    assert paths_at(main) == ["dirty"]


def test_import_of_nothing_commits(source, main):
    status = main.import_data("nothing").run(QUICK)
    assert (status.completed, status.ingested_objects) == (True, 0)
    assert main.get_commit().message == "nothing"


def test_import_of_what_is_not_there_fails_and_changes_nothing(target, source, main):
    before = main.head.id
    missing = source["one"] + "-missing"
    with pytest.raises(Exception, match=r"."):
        main.import_data("x").object(missing, "in/1").run(QUICK)
    assert main.head.id == before
    assert list(main.objects()) == []


def test_import_to_unknown_branch_and_unknown_import_are_404(target, source, repo, refuses):
    with refuses(404):
        repo.branch("none").import_data("x").object(source["one"], "a").start()
    with refuses(404):
        target.api.import_api.import_status(repo.id, "main", "no-such-import")


def test_cancel_after_the_end_is_409(source, main, refuses):
    manager = main.import_data("imported").object(source["one"], "a")
    with pytest.raises(ImportManagerException):
        manager.cancel()
    manager.run(QUICK)
    with refuses(409):
        manager.cancel()


def test_import_of_another_kind_of_store_is_400(source, main, refuses):
    with pytest.raises(Exception, match=r"."):
        main.import_data("x").prefix("gs://bucket/x/", "in/").run(QUICK)
    assert list(main.objects()) == []


def test_imported_prefix_keeps_odd_keys(target, prefix, main, paths_at):
    odd = ["a b", "a+b", "a%20b", "ü/1"]
    for key in odd:
        target.s3.put_object(Bucket=target.bucket, Key=f"odd/{key}", Body=key.encode())
    main.import_data("imported").prefix(f"s3://{target.bucket}/odd/", "in/").run(QUICK)
    assert paths_at(main) == sorted(f"in/{key}" for key in odd)
    with main.object("in/a+b").reader(pre_sign=False) as reader:
        assert reader.read() == b"a+b"
    where = urlsplit(main.object("in/a b").stat().physical_address)
    assert where.netloc == target.bucket
