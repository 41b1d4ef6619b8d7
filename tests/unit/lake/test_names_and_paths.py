"""Names made from run ids, and the paths that may enter or leave the lake."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.lake.errors import BadPath
from include.lake.layout import log_watermark_path, table_of, watermark_path, watermark_source
from include.lake.names import draft_branch, is_draft_name, published_tag, refused_branch, run_slug
from include.lake.outgoing import named_files
from include.lake.paths import confined, joined, object_path, prefix_path

RUNS = st.text(min_size=1, max_size=300)
VALID = re.compile(r"\w[-\w]*", re.ASCII)


@given(station=RUNS, run_id=RUNS)
def test_a_slug_is_valid_bounded_and_always_the_same(station, run_id):
    slug = run_slug(station, run_id)
    assert slug == run_slug(station, run_id)
    for name in (draft_branch(station, run_id), published_tag(station, run_id)):
        assert VALID.fullmatch(name), name
        assert len(name) <= 100
    refused = refused_branch(station, run_id, "c0ffee1234567890")
    assert VALID.fullmatch(refused)
    assert len(refused) <= 100
    assert is_draft_name(draft_branch(station, run_id))
    assert not is_draft_name(refused)


@given(one=st.tuples(RUNS, RUNS), two=st.tuples(RUNS, RUNS))
def test_two_runs_never_share_a_name(one, two):
    assert (run_slug(*one) == run_slug(*two)) == (one == two)


@given(text=st.text(min_size=2, max_size=20), cut=st.integers(1, 19), other=st.integers(1, 19))
def test_where_the_station_ends_and_the_run_begins_counts(text, cut, other):
    cut, other = min(cut, len(text) - 1), min(other, len(text) - 1)
    same = run_slug(text[:cut], text[cut:]) == run_slug(text[:other], text[other:])
    assert same == (cut == other)


def test_a_slug_can_be_read():
    slug = run_slug("ingest_batch__retail", "scheduled__2026-01-01T00:00:00+00:00")
    assert slug.startswith("ingest-batch-retail-scheduled-2026-01-01t00-00-00-00-00-")


@pytest.mark.parametrize(("station", "run_id"), [("", "run"), ("station", "")])
def test_a_run_without_a_name_is_no_run(station, run_id):
    with pytest.raises(ValueError, match="needs a run id and a station"):
        run_slug(station, run_id)


BAD = [
    "",
    "/etc/passwd",
    "raw/../../etc/passwd",
    "..",
    "raw/./orders",
    "raw//orders",
    "raw/orders/",
    "raw\\orders",
    "raw/a\nb",
    "raw/a\x00b",
    "raw/a\x7fb",
    "raw/\udcff",
    "raw/" + "a" * 256,
    "a/" * 600 + "a",
]


@pytest.mark.parametrize("path", BAD)
def test_a_path_that_leads_astray_is_refused(path):
    for check in (object_path, confined):
        with pytest.raises(BadPath, match="Accepted: relative paths"):
            check(path)
    with pytest.raises(BadPath):
        joined("raw", path)


@pytest.mark.parametrize("path", ["_lakefs_actions/hook.yaml", "_lakefs/retention", "_lakefsx"])
def test_the_servers_own_paths_may_be_read_but_not_written(path):
    assert confined(path) == path
    with pytest.raises(BadPath, match="reserved"):
        object_path(path)
    with pytest.raises(BadPath, match="reserved"):
        joined("", path)


@given(path=st.text(max_size=60))
def test_what_is_let_through_stays_in_its_folder(path):
    try:
        confined(path)
    except BadPath:
        return
    root = Path("/srv/checkout")
    # normpath, and not resolve: no file system has a say in it
    import os.path

    joined_path = os.path.normpath(root / path)
    assert joined_path.startswith("/srv/checkout/")
    assert joined_path == f"/srv/checkout/{path}"


@given(path=st.lists(st.from_regex(r"[a-zA-Z0-9_=. -]{1,20}", fullmatch=True), min_size=1, max_size=5))
def test_ordinary_paths_are_let_through(path):
    name = "/".join(path)
    if {".", ".."} & set(path) or name.startswith("_lakefs"):
        return
    assert object_path(name) == name
    assert joined("raw", name) == f"raw/{name}"
    assert prefix_path(name + "/") == name


def test_an_empty_prefix_is_the_whole_lake():
    assert prefix_path("") == prefix_path("/") == ""
    assert joined("", "a") == "a"


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("raw/retail/orders/part-0.parquet", "raw/retail/orders"),
        ("raw/retail/orders/day=1/part-0.parquet", "raw/retail/orders"),
        ("features/feat_household/part-0.parquet", "features/feat_household"),
        ("other/place/file.parquet", "other/place"),
        ("raw/retail/_watermark.json", None),
        ("raw/retail/stray.parquet", None),
        ("stray.parquet", None),
        ("raw/retail/orders/_SUCCESS", None),
    ],
)
def test_a_file_belongs_to_the_table_of_its_folder(path, table):
    assert table_of(path) == table


def test_a_watermark_belongs_to_its_source():
    assert watermark_source(watermark_path("retail")) == "retail"
    assert watermark_source(log_watermark_path("retail")) == "retail"
    for path in ("raw/retail/orders/_watermark.json", "raw/_watermark.json", "staged/retail/_watermark.json"):
        assert watermark_source(path) is None


def test_files_are_named_by_folder_by_list_or_by_hand(tmp_path):
    folder = tmp_path / "out"
    (folder / "day=1").mkdir(parents=True)
    for name in ("a.bin", "day=1/b.bin", ".a.bin.crc", "_SUCCESS"):
        (folder / name).write_bytes(b"x")
    assert sorted(named_files(folder, "raw/t")) == ["raw/t/_SUCCESS", "raw/t/a.bin", "raw/t/day=1/b.bin"]
    assert named_files([folder / "a.bin"], "raw/t/") == {"raw/t/a.bin": folder / "a.bin"}
    assert named_files({"x/y.bin": folder / "a.bin"}, "") == {"x/y.bin": folder / "a.bin"}


def test_what_cannot_be_named_is_refused_before_anything_is_sent(tmp_path):
    file, twin = tmp_path / "a.bin", tmp_path / "other" / "a.bin"
    twin.parent.mkdir()
    for path in (file, twin):
        path.write_bytes(b"x")
    for source, said in (
        ([file, twin], "two files would become"),
        ({"../a.bin": file}, "'..'"),
        ([tmp_path], "is not a file"),
        (tmp_path / "nowhere", "is not a folder"),
        (file, "is not a folder"),
    ):
        with pytest.raises(BadPath, match=re.escape(said)):
            named_files(source, "raw/t")
