"""Listings longer than the largest page."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lakefs_sdk
import pytest

pytestmark = pytest.mark.integration
sdk: Any = lakefs_sdk

COUNT = 1205


@pytest.fixture
def many(api, repo, main, put):
    """1,205 entries at one physical address, in 5 directories; staged."""
    put(main, "origin", content="data")
    address = main.object("origin").stat().physical_address
    creation = sdk.ObjectStageCreation(physical_address=address, checksum="x", size_bytes=4)
    paths = [f"d{number % 5}/{number:05d}" for number in range(COUNT)]

    def stage(path: str) -> None:
        api.internal_api.stage_object(repo.id, "main", path, creation)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(stage, paths))
    main.object("origin").delete()
    return sorted(paths)


def test_objects_changes_and_deletes_over_a_thousand(api, repo, main, many):
    assert [change.path for change in main.uncommitted()] == many
    assert [change.path for change in main.uncommitted(amount=1000)] == many
    assert [entry.path for entry in main.objects()] == many
    first = api.objects_api.list_objects(repo.id, "main", amount=1000)
    assert (len(first.results), first.pagination.has_more) == (1000, True)
    assert len(api.objects_api.list_objects(repo.id, "main").results) == 100
    assert len(api.objects_api.list_objects(repo.id, "main", amount=-1).results) == 100
    base = main.head.id
    head = main.commit("many")
    assert [entry.path for entry in head.objects(amount=1000)] == many
    assert [entry.path for entry in head.objects(delimiter="/")] == [f"d{number}/" for number in range(5)]
    assert [change.path for change in repo.ref(base).diff(head.id, amount=1000)] == many
    for start in range(0, COUNT, 1000):
        main.delete_objects(many[start : start + 1000])
    assert list(main.objects()) == []
    assert [change.type for change in main.uncommitted(amount=1000)] == ["removed"] * COUNT
    main.commit("none")
    assert [change.type for change in repo.ref(head.id).diff("main", amount=1000)] == ["removed"] * COUNT
    assert [entry.path for entry in head.objects(amount=1000)] == many


def test_amount_over_a_thousand_is_capped_or_refused(http, repo):
    answer = http.get(f"/repositories/{repo.id}/refs/main/objects/ls?amount=1001")
    assert answer.status_code == 400 or answer.json()["pagination"]["max_per_page"] == 1000


def test_a_thousand_branches_and_tags(api, repo, main):
    head = main.head.id
    numbers = [f"{number:04d}" for number in range(1010)]

    def create(number: str) -> None:
        api.branches_api.create_branch(repo.id, sdk.BranchCreation(name=f"b{number}", source=head))
        api.tags_api.create_tag(repo.id, sdk.TagCreation(id=f"t{number}", ref=head))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, numbers))
    assert [branch.id for branch in repo.branches(amount=1000)] == [*(f"b{n}" for n in numbers), "main"]
    assert [tag.id for tag in repo.tags(amount=1000)] == [f"t{n}" for n in numbers]
    page = api.branches_api.list_branches(repo.id, amount=1000)
    assert (len(page.results), page.pagination.has_more) == (1000, True)
