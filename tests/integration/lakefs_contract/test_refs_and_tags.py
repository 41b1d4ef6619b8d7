import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
def graph(repo, main, commit):
    """main: initial - one - two - merge(two, side) ; side branches off at one."""
    one = commit(main, "one", "a", content="1")
    branch = repo.branch("side").create("main")
    two = commit(main, "two", "a", content="2")
    side = commit(branch, "side", "s")
    merge = branch.merge_into(main)
    return {"one": one, "two": two, "side": side, "merge": merge}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("main", "merge"),
        ("main@", "merge"),
        ("main~", "two"),
        ("main~1", "two"),
        ("main^", "two"),
        ("main^1", "two"),
        ("main^2", "side"),
        ("main~2", "one"),
        ("main~~", "one"),
        ("main^^", "one"),
        ("main^2~1", "one"),
        ("main^2^", "one"),
        ("main~1~1", "one"),
        ("main~0", "merge"),
        ("side", "side"),
        ("side~1", "one"),
        ("t", "two"),
        ("t~1", "one"),
    ],
)
def test_expressions(repo, graph, expression, expected):
    repo.tag("t").create(graph["two"])
    assert repo.ref(expression).get_commit().id == graph[expected]


def test_expressions_on_commit_ids(repo, graph):
    assert repo.ref(graph["merge"] + "^2").get_commit().id == graph["side"]
    assert repo.ref(graph["merge"][:16] + "~2").get_commit().id == graph["one"]


@pytest.mark.parametrize("expression", ["none", "main~99", "main^3", "none~1", "0123456789abcdef"])
def test_what_leads_nowhere_is_refused(repo, graph, refuses, expression):
    with refuses(404, 400):
        repo.ref(expression).get_commit()


@pytest.mark.parametrize("expression", ["main~x", "main^x", "~1", "^", "main~-1"])
def test_what_cannot_be_read_is_refused(repo, graph, refuses, expression):
    with refuses(400, 404):
        repo.ref(expression).get_commit()


def test_branch_reads_staged_and_at_reads_committed(repo, main, graph, put, content_at, paths_at):
    put(main, "a", content="staged")
    put(main, "new")
    main.object("s").delete()
    assert content_at("main", "a") == "staged"
    assert content_at("main$", "a") == "staged"
    assert content_at("main@", "a") == "2"
    assert content_at("main~1", "a") == "2"
    assert paths_at(main) == ["a", "new"]
    assert paths_at(repo.ref("main@")) == ["a", "s"]


def test_object_reads_through_expressions(content_at, graph):
    assert content_at("main~2", "a") == "1"
    assert content_at("main^2", "s") == "side"
    assert content_at(graph["one"], "a") == "1"


def test_tag_life(api, repo, main, commit, refuses):
    first = commit(main, "one", "a")
    tag = repo.tag("v1.0-rc_1").create("main")
    assert tag.get_commit().id == first
    commit(main, "two", "b")
    assert api.tags_api.get_tag(repo.id, tag.id).commit_id == first
    assert not tag.object("b").exists()
    with refuses(409):
        repo.tag("v1.0-rc_1").create("main")
    repo.tag("v1.0-rc_1").create("main", exist_ok=True)
    assert tag.get_commit().id == first
    tag.delete()
    with refuses(404):
        api.tags_api.get_tag(repo.id, tag.id)
    with refuses(404):
        tag.delete()
    repo.tag("v1.0-rc_1").create("main")


def test_tag_of_what_is_no_commit(repo, main, put, refuses):
    with refuses(404):
        repo.tag("t").create("none")
    put(main, "staged")
    with refuses(400):
        repo.tag("t").create("main$")
    with refuses(404):
        repo.tag("t").get_commit()


@pytest.mark.parametrize(
    "name", ["a b", "", "@", "a^", "a:b", "a..b", "a//b", "a@{b", "a.lock", "a.", "a/", "a*"]
)
def test_bad_tag_names_are_400(http, repo, name):
    assert http.post(f"/repositories/{repo.id}/tags", json={"id": name, "ref": "main"}).status_code == 400


def test_a_name_is_a_branch_or_a_tag_but_not_both(repo, refuses):
    repo.branch("b").create("main")
    repo.tag("t").create("main")
    with refuses(409):
        repo.tag("b").create("main")
    with refuses(409):
        repo.branch("t").create("main")


def test_create_tag_answers_201_with_the_ref(http, repo, main):
    answer = http.post(f"/repositories/{repo.id}/tags", json={"id": "t", "ref": "main"})
    assert (answer.status_code, answer.json()) == (201, {"id": "t", "commit_id": main.head.id})


def test_tags_list_is_sorted_with_prefix_after_and_pages(repo, api):
    names = sorted(f"t-{number:02d}" for number in range(12))
    for name in reversed(names):
        repo.tag(name).create("main")
    assert [tag.id for tag in repo.tags()] == names
    assert [tag.id for tag in repo.tags(amount=5)] == names
    assert [tag.id for tag in repo.tags(prefix="t-0", after="t-03")] == names[4:10]
    page = api.tags_api.list_tags(repo.id, amount=5)
    assert (page.pagination.has_more, page.pagination.next_offset) == (True, "t-04")


def test_writing_through_a_tag_or_commit_is_refused(repo, main, commit, put, refuses):
    first = commit(main, "one", "a")
    repo.tag("t").create(first)
    for name in ("t", first, "main~1"):
        with refuses(400, 404):
            put(repo.branch(name), "x")
