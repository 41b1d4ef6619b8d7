import pytest

pytestmark = pytest.mark.integration

TREE = ["a", "a/b", "a/b/c", "a0", "b/1", "b/2", "b/deep/3", "c", "z/1"]
ODD = [
    " leading and trailing ",
    "a b",
    "a%20b",
    "a%2Fb",
    "a+b",
    "a//b",
    "a/./b",
    "a/trailing/",
    "a?b=c&d",
    "a#b",
    "a\\b",
    "a\tb",
    "quote'\"`",
    "semi;colon,comma",
    "ümläut/ß",
    "日本語/ファイル",
    "emoji/🌊",
    "e\u0301 is not \u00e9",
    "\ufffd\uffff",
    "\U0001f30a",
    "~^@$:",
    "=1",
    "*",
    "[x]{y}",
    "%",
    "%zz",
]


@pytest.fixture
def tree(main, put):
    put(main, *TREE)
    return main


def found(listing):
    return [
        (entry.path, "common_prefix" if type(entry).__name__ == "CommonPrefix" else "object")
        for entry in listing
    ]


def objects(*paths):
    return [(path, "common_prefix" if path.endswith("/") else "object") for path in paths]


@pytest.fixture(params=["staged", "committed", "mixed"])
def listed(request, main, put, repo):
    """The same tree as staged entries, as a commit, and as a commit with staged changes on top."""
    if request.param == "mixed":
        put(main, *TREE[::2], "removed", "b/removed")
        main.commit("half")
        main.delete_objects(["removed", "b/removed"])
        put(main, *TREE[1::2])
        return main
    put(main, *TREE)
    if request.param == "committed":
        return repo.ref(main.commit("all").id)
    return main


def test_flat_listing_is_in_byte_order(listed):
    assert found(listed.objects()) == objects(*TREE)


@pytest.mark.parametrize("amount", [1, 2, 3, 8, 9, 1000])
def test_pages_join_to_the_whole(listed, amount):
    assert found(listed.objects(amount=amount)) == objects(*TREE)
    assert found(listed.objects(amount=amount, delimiter="/")) == objects("a", "a/", "a0", "b/", "c", "z/")


@pytest.mark.parametrize(
    ("prefix", "delimiter", "expected"),
    [
        ("", "/", ["a", "a/", "a0", "b/", "c", "z/"]),
        ("a", "/", ["a", "a/", "a0"]),
        ("a/", "/", ["a/b", "a/b/"]),
        ("a/b/", "/", ["a/b/c"]),
        ("b/", "/", ["b/1", "b/2", "b/deep/"]),
        ("b/d", "/", ["b/deep/"]),
        ("b/d", None, ["b/deep/3"]),
        ("a", None, ["a", "a/b", "a/b/c", "a0"]),
        ("none", "/", []),
        ("c", None, ["c"]),
    ],
)
def test_prefix_and_delimiter(listed, prefix, delimiter, expected):
    assert found(listed.objects(prefix=prefix, delimiter=delimiter)) == objects(*expected)


@pytest.mark.parametrize("after", ["", "a", "a/", "a/b", "b/", "b/2", "b/zzz", "c", "zzz"])
def test_after_is_exclusive(listed, after):
    assert [entry.path for entry in listed.objects(after=after)] == [path for path in TREE if path > after]


def test_after_a_common_prefix_skips_what_is_beneath_it(listed):
    assert found(listed.objects(after="a/", delimiter="/")) == objects("a0", "b/", "c", "z/")
    assert found(listed.objects(after="b/", delimiter="/", amount=1)) == objects("c", "z/")


def test_pagination_fields(api, repo, tree):
    page = api.objects_api.list_objects(repo.id, "main", amount=2, delimiter="/")
    assert [entry.path for entry in page.results] == ["a", "a/"]
    assert [entry.path_type for entry in page.results] == ["object", "common_prefix"]
    assert page.pagination.has_more is True
    assert page.pagination.next_offset == "a/"
    assert page.pagination.results == 2
    assert page.pagination.max_per_page == 1000
    last = api.objects_api.list_objects(repo.id, "main", amount=1000)
    assert (last.pagination.has_more, last.pagination.next_offset) == (False, "")
    assert api.objects_api.list_objects(repo.id, "main", amount=9).pagination.has_more is False


def test_entries_carry_their_stat(api, repo, main, put, target):
    put(main, "a", content="data", metadata={"k": "v"}, content_type="text/plain")
    entry = api.objects_api.list_objects(repo.id, "main").results[0]
    stat = api.objects_api.stat_object(repo.id, "main", "a")
    assert entry == stat
    assert not api.objects_api.list_objects(repo.id, "main", user_metadata=False).results[0].metadata
    if target.storage.pre_sign_support:
        signed = api.objects_api.list_objects(repo.id, "main", presign=True).results[0]
        assert signed.physical_address.startswith("http")


def test_max_amount(tree):
    assert len(list(tree.objects(max_amount=4))) == 4


def test_odd_keys_round_trip(main, put, content_at, repo):
    put(main, *ODD)
    assert [entry.path for entry in main.objects()] == sorted(ODD, key=lambda path: path.encode())
    for path in ODD:
        assert content_at("main", path) == path
        assert main.object(path).stat().path == path
    reference = main.commit("odd keys")
    assert [entry.path for entry in reference.objects()] == sorted(ODD, key=lambda path: path.encode())
    assert [entry.path for entry in reference.objects(amount=3)] == sorted(
        ODD, key=lambda path: path.encode()
    )
    for path in ODD:
        assert content_at(reference.id, path) == path
    main.delete_objects(ODD)
    assert list(main.objects()) == []
    assert [change.path for change in main.uncommitted()] == sorted(ODD, key=lambda path: path.encode())


def test_odd_prefixes_and_delimiters(main, put):
    put(main, "x y/1", "x+y/2", "x%20y/3", "日本/4", "a_b_c", "a_b_d", "a__e")
    assert [entry.path for entry in main.objects(prefix="x y/")] == ["x y/1"]
    assert [entry.path for entry in main.objects(prefix="x+y/")] == ["x+y/2"]
    assert [entry.path for entry in main.objects(prefix="x%20y/")] == ["x%20y/3"]
    assert [entry.path for entry in main.objects(prefix="日")] == ["日本/4"]
    assert [entry.path for entry in main.objects(prefix="a_", delimiter="_")] == ["a__", "a_b_"]


def test_unknown_ref_is_404(repo, refuses):
    with refuses(404):
        list(repo.ref("none").objects())


def test_listing_past_a_deleted_prefix(main, commit, paths_at):
    commit(main, "base", *(f"d/{number:03d}" for number in range(50)), "e")
    main.delete_objects([f"d/{number:03d}" for number in range(50)])
    assert paths_at(main, amount=5) == ["e"]
    assert paths_at(main, delimiter="/") == ["e"]
