import uuid
from typing import Any

import lakefs
import lakefs_sdk
import pytest

pytestmark = pytest.mark.integration
sdk: Any = lakefs_sdk


def test_create_tells_its_properties(target, new_repository):
    repo = new_repository(default_branch="trunk")
    properties = repo.properties
    assert properties.id == repo.id
    assert properties.default_branch == "trunk"
    assert properties.storage_namespace.startswith(target.namespace_prefix)
    assert properties.creation_date > 0
    fetched = target.api.repositories_api.get_repository(repo.id)
    assert (fetched.id, fetched.default_branch) == (repo.id, "trunk")
    assert fetched.storage_namespace == properties.storage_namespace
    assert [branch.id for branch in repo.branches()] == ["trunk"]


def test_initial_commit_is_empty(repo):
    commit = repo.branch("main").get_commit()
    assert commit.message == "Repository created"
    assert commit.parents == []
    assert commit.meta_range_id == ""
    assert commit.metadata == {}
    assert list(repo.branch("main").objects()) == []
    assert [found.id for found in repo.branch("main").log()] == [commit.id]


def test_create_twice_is_409_and_exist_ok_returns_the_first(target, repo, refuses):
    again = lakefs.Repository(repo.id, client=target.client)
    with refuses(409):
        again.create(target.namespace(uuid.uuid4().hex))
    again.create(target.namespace(uuid.uuid4().hex), exist_ok=True)
    assert again.properties.storage_namespace == repo.properties.storage_namespace


def test_a_storage_namespace_belongs_to_one_repository(target, repo, refuses):
    other = lakefs.Repository(f"contract-{uuid.uuid4().hex[:12]}", client=target.client)
    with refuses(400):
        other.create(repo.properties.storage_namespace)


@pytest.mark.parametrize(
    "name", ["ab", "Upper-case", "-dash", "under_score", "dot.dot", "a" * 64, "sp ace", "ünï"]
)
def test_bad_repository_names_are_400(target, http, name):
    body = {"name": name, "storage_namespace": target.namespace(uuid.uuid4().hex)}
    answer = http.post("/repositories", json=body)
    assert answer.status_code == 400
    assert answer.json()["message"]


@pytest.mark.parametrize("namespace", ["gs://bucket/x", "nonsense", ""])
def test_bad_storage_namespaces_are_400(target, http, namespace):
    body = {"name": f"contract-{uuid.uuid4().hex[:12]}", "storage_namespace": namespace}
    assert http.post("/repositories", json=body).status_code == 400


def test_unknown_repository_is_404_everywhere(target, refuses):
    repo = lakefs.Repository("no-such-repository", client=target.client)
    for ask in (
        lambda: repo.delete(),
        lambda: repo.branch("main").head,
        lambda: list(repo.branches()),
        lambda: list(repo.tags()),
        lambda: list(repo.branch("main").log()),
        lambda: list(repo.branch("main").objects()),
        lambda: repo.branch("main").commit("x"),
        lambda: repo.branch("main").object("x").upload("x", pre_sign=False),
    ):
        with refuses(404):
            ask()


def test_delete_then_the_name_is_free_again(target, new_repository, refuses):
    repo = new_repository()
    repo.delete()
    with refuses(404):
        target.api.repositories_api.get_repository(repo.id)
    with refuses(404):
        repo.delete()
    again = new_repository(name=repo.id)
    assert list(again.branch("main").objects()) == []


def test_list_is_sorted_and_pages(target, new_repository):
    prefix = f"page-{uuid.uuid4().hex[:8]}-"
    names = [f"{prefix}{number}" for number in (3, 1, 4, 0, 2)]
    for name in names:
        new_repository(name=name)
    found = [repo.id for repo in lakefs.repositories(client=target.client, prefix=prefix)]
    assert found == sorted(names)
    assert [r.id for r in lakefs.repositories(client=target.client, prefix=prefix, amount=2)] == sorted(names)
    page = target.api.repositories_api.list_repositories(prefix=prefix, amount=2, after=f"{prefix}1")
    assert [r.id for r in page.results] == [f"{prefix}2", f"{prefix}3"]
    assert page.pagination.has_more
    assert page.pagination.next_offset == f"{prefix}3"
    assert page.pagination.results == 2


def test_metadata_set_and_delete_keys(api, repo, refuses):
    assert api.repositories_api.get_repository_metadata(repo.id) == {}
    keep = sdk.RepositoryMetadataSet(metadata={"owner": "someone", "tier": "1"})
    api.internal_api.set_repository_metadata(repo.id, keep)
    api.internal_api.set_repository_metadata(
        repo.id, sdk.RepositoryMetadataSet(metadata={"tier": "2", "größe": "ja"})
    )
    assert repo.metadata == {"owner": "someone", "tier": "2", "größe": "ja"}
    api.internal_api.delete_repository_metadata(repo.id, sdk.RepositoryMetadataKeys(keys=["tier", "absent"]))
    assert repo.metadata == {"owner": "someone", "größe": "ja"}
    with refuses(404):
        api.repositories_api.get_repository_metadata("no-such-repository")


def test_a_read_only_repository_refuses_changes_unless_forced(target, refuses, new_repository, put):
    name = f"contract-{uuid.uuid4().hex[:12]}"
    target.api.repositories_api.create_repository(
        sdk.RepositoryCreation(name=name, storage_namespace=target.namespace(name), read_only=True)
    )
    repo = lakefs.Repository(name, client=target.client)
    assert target.api.repositories_api.get_repository(name).read_only is True
    with refuses(403):
        put(repo.branch("main"), "a")
    with refuses(403):
        repo.branch("b").create("main")
    with refuses(403):
        repo.branch("main").commit("x", allow_empty=True)
    with refuses(403):
        repo.delete()
    repo.branch("b").create("main", force=True)
    target.api.repositories_api.delete_repository(name, force=True)


def test_sample_data_fills_and_protects_main(new_repository, paths_at, refuses, put):
    repo = new_repository(include_samples=True)
    paths = paths_at(repo.branch("main"))
    assert {"README.md", "lakes.parquet", "data/lakes.source.md"} <= set(paths)
    assert any(path.startswith("images/") for path in paths)
    assert list(repo.branch("main").uncommitted()) == []
    put(repo.branch("main"), "a")
    with refuses(403):
        repo.branch("main").commit("refused")
