from typing import Any

import lakefs_sdk
import pytest

pytestmark = pytest.mark.integration
sdk: Any = lakefs_sdk


def test_rules_set_get_delete(api, repo, refuses):
    with refuses(404):
        api.repositories_api.get_gc_rules(repo.id)
    rules = sdk.GarbageCollectionRules(
        default_retention_days=21,
        branches=[
            sdk.GarbageCollectionRule(branch_id="main", retention_days=28),
            sdk.GarbageCollectionRule(branch_id="dev", retention_days=7),
        ],
    )
    api.repositories_api.set_gc_rules(repo.id, rules)
    found = api.repositories_api.get_gc_rules(repo.id)
    assert found.default_retention_days == 21
    assert {(rule.branch_id, rule.retention_days) for rule in found.branches} == {("main", 28), ("dev", 7)}
    api.repositories_api.delete_gc_rules(repo.id)
    with refuses(404):
        api.repositories_api.get_gc_rules(repo.id)


def test_preflight_and_config(api, repo):
    api.internal_api.set_garbage_collection_rules_preflight(repo.id)
    assert api.internal_api.get_garbage_collection_config().grace_period > 0


def test_rules_of_an_unknown_repository_are_404(api, refuses):
    with refuses(404):
        api.repositories_api.get_gc_rules("no-such-repository")


@pytest.mark.parametrize("body", [{}, {"default_retention_days": "x", "branches": []}])
def test_malformed_rules_are_400(http, repo, body):
    assert http.put(f"/repositories/{repo.id}/settings/gc_rules", json=body).status_code == 400
