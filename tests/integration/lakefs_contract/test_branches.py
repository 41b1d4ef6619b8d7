from typing import Any

import lakefs_sdk
import pytest

pytestmark = pytest.mark.integration
sdk: Any = lakefs_sdk


def test_create_answers_201_with_the_commit_id_as_plain_text(http, repo, main):
    answer = http.post(f"/repositories/{repo.id}/branches", json={"name": "b", "source": "main"})
    assert answer.status_code == 201
    assert answer.text == main.head.id
    assert repo.branch("b").head.id == main.head.id


def test_create_from_branch_tag_commit_and_expression(repo, main, commit):
    first = commit(main, "one", "a")
    second = commit(main, "two", "a")
    repo.tag("t").create(first)
    for name, source, expected in (
        ("from-branch", "main", second),
        ("from-tag", "t", first),
        ("from-commit", first, first),
        ("from-expression", "main~1", first),
    ):
        assert repo.branch(name).create(source).head.id == expected


@pytest.mark.parametrize("name", ["a b", "a/b", "-a", "a.b", "", "a@", "a~1", "a^", "a:b"])
def test_bad_branch_names_are_400(http, repo, name):
    answer = http.post(f"/repositories/{repo.id}/branches", json={"name": name, "source": "main"})
    assert answer.status_code == 400
    assert [branch.id for branch in repo.branches()] == ["main"]


@pytest.mark.parametrize("name", ["a", "_a", "A-b_c", "1", "9-9"])
def test_good_branch_names(repo, name):
    repo.branch(name).create("main")
    assert {branch.id for branch in repo.branches()} == {"main", name}


def test_existing_name_is_409_unknown_source_404(repo, refuses):
    repo.branch("b").create("main")
    with refuses(409):
        repo.branch("b").create("main")
    repo.branch("b").create("main", exist_ok=True)
    with refuses(404):
        repo.branch("c").create("no-such-ref")


def test_uncommitted_changes_stay_behind(repo, main, put, paths_at):
    put(main, "staged")
    branch = repo.branch("b").create("main")
    assert paths_at(main) == ["staged"]
    assert paths_at(branch) == []


def test_branches_are_isolated_until_merged(repo, main, commit, put, paths_at):
    commit(main, "base", "a")
    branch = repo.branch("b").create("main")
    put(branch, "b-only")
    branch.object("a").delete()
    assert paths_at(branch) == ["b-only"]
    assert paths_at(main) == ["a"]


def test_list_is_sorted_with_prefix_after_and_pages(repo, api):
    names = sorted(f"b-{number:02d}" for number in range(12))
    for name in reversed(names):
        repo.branch(name).create("main")
    assert [branch.id for branch in repo.branches()] == [*names, "main"]
    assert [branch.id for branch in repo.branches(amount=5)] == [*names, "main"]
    assert [branch.id for branch in repo.branches(prefix="b-0", after="b-03")] == names[4:10]
    page = api.branches_api.list_branches(repo.id, prefix="b-", amount=5)
    assert (page.pagination.has_more, page.pagination.next_offset) == (True, "b-04")
    page = api.branches_api.list_branches(repo.id, prefix="b-", amount=12)
    assert page.pagination.has_more is False


def test_hidden_branches_are_listed_only_on_request(repo, main, put):
    branch = repo.branch("hidden").create("main", hidden=True)
    assert [found.id for found in repo.branches()] == ["main"]
    assert [found.id for found in repo.branches(show_hidden=True)] == ["hidden", "main"]
    put(branch, "a")
    branch.commit("works all the same")
    branch.merge_into(main)
    branch.delete()
    assert [found.id for found in repo.branches(show_hidden=True)] == ["main"]


def test_delete(repo, put, refuses):
    branch = repo.branch("b").create("main")
    put(branch, "uncommitted")
    branch.delete()
    with refuses(404):
        _ = branch.head
    with refuses(404):
        branch.delete()
    again = repo.branch("b").create("main")
    assert list(again.objects()) == []


def test_the_default_branch_stays(repo, main):
    with pytest.raises(Exception, match="default branch"):
        main.delete()
    assert main.get_commit().message == "Repository created"


def test_hard_reset_moves_a_clean_branch(api, repo, main, commit, refuses, paths_at):
    first = commit(main, "one", "a")
    commit(main, "two", "b")
    api.experimental_api.hard_reset_branch(repo.id, "main", first)
    assert main.head.id == first
    assert paths_at(main) == ["a"]
    with refuses(404):
        api.experimental_api.hard_reset_branch(repo.id, "main", "no-such-ref")


def protect(api, repo, *patterns):
    rules = [sdk.BranchProtectionRule(pattern=pattern) for pattern in patterns]
    api.repositories_api.set_branch_protection_rules(repo.id, rules)


def test_protected_branch_refuses_writes_and_commits_but_not_merges(api, repo, main, commit, put, refuses):
    commit(main, "base", "a")
    put(main, "staged-before")
    protect(api, repo, "main")
    with refuses(403, says="protected branch"):
        put(main, "b")
    with refuses(403):
        main.object("a").delete()
    with refuses(403):
        main.commit("x")
    with refuses(403):
        main.reset_changes()
    with refuses(403):
        repo.ref("main").object("a").copy("main", "c")
    assert [change.path for change in main.uncommitted()] == ["staged-before"]
    protect(api, repo)
    main.reset_changes()
    protect(api, repo, "main")
    branch = repo.branch("b").create("main")
    commit(branch, "work", "new")
    branch.merge_into(main)
    assert main.object("new").exists()


def test_delete_many_on_a_protected_branch_lists_each_failure(api, repo, main, commit):
    commit(main, "base", "a", "b")
    protect(api, repo, "main")
    answer = api.objects_api.delete_objects(repo.id, "main", sdk.PathList(paths=["a", "b"]))
    assert [(error.path, error.status_code) for error in answer.errors] == [("a", 403), ("b", 403)]
    assert main.object("a").exists()


def test_protection_rules_are_globs(api, repo, put, refuses):
    protect(api, repo, "release-*", "stable")
    for name, protected in (("release-1", True), ("stable", True), ("stable2", False), ("release", False)):
        branch = repo.branch(name).create("main")
        if protected:
            with refuses(403):
                put(branch, "a")
        else:
            put(branch, "a")


def test_protection_rules_read_replace_and_etag(http, api, repo):
    url = f"/repositories/{repo.id}/settings/branch_protection"
    assert http.get(url).json() == []
    protect(api, repo, "main", "b-*")
    first = http.get(url)
    assert sorted(rule["pattern"] for rule in first.json()) == ["b-*", "main"]
    etag = first.headers["ETag"]
    assert etag
    changed = http.put(url, json=[{"pattern": "main"}], headers={"If-Match": etag})
    assert changed.status_code == 204
    stale = http.put(url, json=[], headers={"If-Match": etag})
    assert stale.status_code == 412
    assert [rule["pattern"] for rule in http.get(url).json()] == ["main"]
    assert http.get(url).headers["ETag"] != etag
