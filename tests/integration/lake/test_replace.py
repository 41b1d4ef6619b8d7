"""Tables that a maker makes no more leave main with the commit that made the others; nobody else's do."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from include.lake import checkout, commit_draft, merge_draft, open_draft, replace_tables, upload
from include.lake.errors import BadInventory
from tests.integration.lake.samples import PASSED, paths, write_orders

pytestmark = pytest.mark.integration

PREFIX = "features"


@pytest.fixture
def build(lake, tmp_path):
    """Publish the tables of a maker, given by name and number of files; what was done, and main after it."""

    def run(maker="retail", evidence=False, **tables):
        folder = tmp_path / uuid4().hex
        folder.mkdir()
        for name, files in tables.items():
            write_orders(folder / name, files=files)
        draft = open_draft(lake, uuid4().hex, f"build_features__{maker}")
        replaced = replace_tables(lake, draft, folder, PREFIX, maker)
        if evidence:
            upload(lake, draft, write_orders(tmp_path / uuid4().hex, files=1), f"{PREFIX}/_gate/{maker}")
        commit_draft(lake, draft, "Build", {}, PASSED)
        published = merge_draft(lake, draft)
        assert published.changed == (replaced.changed or evidence)
        return replaced

    return run


def tables(lake):
    found = {path.split("/")[1] for path in paths(lake, lake.head(), PREFIX)}
    return found - {"_made"}


def test_a_table_that_is_made_no_more_goes_with_the_same_commit(lake, build):
    first = build(baskets=2, terms=1)
    assert (first.retired, first.removed) == ((), ())
    before = lake.head()
    second = build(baskets=2)
    assert second.retired == ("terms",)
    assert second.removed == ("features/terms/part-000000.parquet",)
    assert tables(lake) == {"baskets"}
    assert lake.commit(lake.head().commit).parents[0] == before.commit
    with checkout(lake, before, PREFIX) as files:
        assert files.path("features/terms/part-000000.parquet").exists(), "history lost it, too"


def test_the_same_tables_again_change_nothing(lake, build):
    build(baskets=2, terms=1)
    head = lake.head()
    again = build(baskets=2, terms=1)
    assert (again.changed, again.retired, again.removed) == (False, (), ())
    assert lake.head() == head


def test_files_that_a_table_has_no_more_go(lake, build):
    build(baskets=3)
    fewer = build(baskets=1)
    assert fewer.removed == ("features/baskets/part-000010.parquet", "features/baskets/part-000020.parquet")
    assert fewer.retired == ()
    assert paths(lake, lake.head(), "features/baskets") == ["features/baskets/part-000000.parquet"]


def test_what_others_make_and_evidence_stay(lake, build):
    build("flights", delays=1, calendar=1)
    build("retail", evidence=True, baskets=1, calendar=1, basket=1)
    gone = build("retail", baskets=1)
    assert gone.retired == ("basket",), "a table that another makes, too, is theirs"
    assert tables(lake) == {"delays", "calendar", "baskets", "_gate"}
    assert build("flights", delays=1).retired == ("calendar",)
    assert tables(lake) == {"delays", "baskets", "_gate"}


def test_tables_from_before_there_was_a_list_stay_until_they_are_made_once(lake, build, tmp_path):
    draft = open_draft(lake, "old", "build_features__retail")
    for name in ("baskets", "terms"):
        upload(lake, draft, write_orders(tmp_path / name, files=1), f"{PREFIX}/{name}")
    commit_draft(lake, draft, "Before", {}, PASSED)
    merge_draft(lake, draft)
    assert build(baskets=1).retired == ()
    assert tables(lake) == {"baskets", "terms"}
    build(baskets=1, terms=1)
    assert build(baskets=1).retired == ("terms",)


@pytest.mark.parametrize(
    "document",
    [
        "no json",
        "[]",
        {"version": 2, "tables": []},
        {"version": 1},
        {"version": 1, "tables": ["../raw"]},
        {"version": 1, "tables": ["_gate"]},
        {"version": 1, "tables": [""]},
    ],
)
def test_a_list_that_is_none_of_ours_deletes_nothing(lake, build, tmp_path, document):
    build(baskets=1)
    text = document if isinstance(document, str) else json.dumps(document)
    file = Path(tmp_path / "retail.json")
    file.write_text(text)
    draft = open_draft(lake, "by hand", "somebody")
    upload(lake, draft, [file], f"{PREFIX}/_made")
    commit_draft(lake, draft, "By hand", {}, PASSED)
    merge_draft(lake, draft)
    with pytest.raises(BadInventory, match=r"features/_made/retail\.json"):
        build(terms=1)
    assert tables(lake) == {"baskets"}


def test_a_maker_whose_name_is_no_file_name_is_refused(lake, tmp_path):
    draft = open_draft(lake, "run", "station")
    with pytest.raises(BadInventory, match="no name of a maker"):
        replace_tables(lake, draft, tmp_path, PREFIX, "../raw/x")
