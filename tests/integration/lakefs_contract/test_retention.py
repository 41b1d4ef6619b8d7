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


@pytest.fixture
def collect(target, http, repo):
    """Runs the embedded server's own collection; a real lakeFS leaves that to a Spark job."""
    if not target.embedded:
        pytest.skip("collection is a job outside of a real lakeFS")

    def run(**options):
        answer = http.post(f"/headrace/repositories/{repo.id}/gc", params=options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return run


def test_collected_objects_are_410_and_all_others_stay(api, http, repo, main, put, collect, content_at):
    put(main, "replaced", "kept", content="old")
    old = main.commit("old", date=1_000_000_000).id
    put(main, "replaced", content="new")
    main.commit("new", date=1_000_000_001)  # a commit expires by the age of the one that replaced it
    put(main, "staged", content="staged")
    nothing = collect(grace_s=3600)
    assert (nothing["expired"], nothing["unreferenced"]) == (0, 0)
    api.repositories_api.set_gc_rules(
        repo.id, sdk.GarbageCollectionRules(default_retention_days=7, branches=[])
    )
    assert collect(grace_s=3600, dry_run=True)["expired"] == 1
    assert content_at(old, "replaced") == "old"
    assert collect(grace_s=3600)["expired"] == 1
    url = f"/repositories/{repo.id}/refs/{old}/objects"
    assert http.get(f"{url}?path=replaced").status_code == 410
    assert http.head(f"{url}?path=replaced").status_code == 410
    assert http.get(f"{url}/stat?path=replaced").status_code == 410
    assert content_at(old, "kept") == "old"
    assert {path: content_at("main", path) for path in ("replaced", "kept", "staged")} == {
        "replaced": "new",
        "kept": "old",
        "staged": "staged",
    }
    assert [entry.path for entry in repo.ref(old).objects()] == ["kept", "replaced"]


def test_a_branch_keeps_its_history_as_long_as_its_rule_says(api, repo, main, put, collect, content_at):
    for number, message in enumerate(("one", "two", "three")):
        put(main, "a", content=message)
        main.commit(message, date=1_000_000_000 + number)
    rules = sdk.GarbageCollectionRules(
        default_retention_days=1,
        branches=[sdk.GarbageCollectionRule(branch_id="main", retention_days=20_000)],
    )
    api.repositories_api.set_gc_rules(repo.id, rules)
    assert collect()["expired"] == 0
    assert content_at("main~2", "a") == "one"
    api.repositories_api.set_gc_rules(
        repo.id, sdk.GarbageCollectionRules(default_retention_days=1, branches=[])
    )
    assert collect()["expired"] == 2
    assert content_at("main", "a") == "three"


def test_what_was_never_committed_goes_after_the_grace(main, put, collect, content_at):
    put(main, "a", content="overwritten")
    put(main, "a", content="staged")
    put(main, "b", content="dropped")
    main.reset_changes("object", "b")
    assert collect(grace_s=3600)["unreferenced"] == 0
    assert collect(grace_s=0)["unreferenced"] in {0, 1, 2}
    assert content_at("main", "a") == "staged"
