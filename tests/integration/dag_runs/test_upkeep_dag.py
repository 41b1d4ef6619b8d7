"""Upkeep and retirement by `dag.test()`: what nobody needs goes, and main keeps all else."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.lake.objects import list_objects, read_bytes, stat_or_none
from include.sources.retail import SOURCE

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

UPKEEP = ("collect_drafts", "collect_objects", "trim_cache", "clear_leftovers")
MADE = f"features/_made/{SOURCE.name}.json"
RETIRED = "feat_household__retired"


@pytest.fixture(scope="module")
def features(world):
    """There are features of the shop on main; those of other tests do."""
    if stat_or_none(world.lake, world.lake.head(), MADE) is not None:
        return
    for flow in ("ingest_batch", "build_features"):
        assert world.run(f"{flow}__{SOURCE.name}").state == "success"


def folders(world):
    paths = [one.path for one in list_objects(world.lake, world.lake.head(), "features")]
    return {"/".join(path.split("/")[:2]) for path in paths}


def test_the_upkeep_touches_neither_main_nor_what_was_refused_lately(world, features, refused_branches):
    head, kept = world.lake.head(), refused_branches()
    run = world.run("maintain_lake")
    assert run.tasks == dict.fromkeys(UPKEEP, "success")
    freed = {name: run.values[f"{name}.return_value"] for name in UPKEEP}
    assert not any(one["dry_run"] for one in freed.values())
    assert [freed[name]["count"] for name in ("collect_drafts", "collect_objects")] == [0, 0]
    assert (world.lake.head(), refused_branches()) == (head, kept)


def test_a_table_whose_model_is_gone_leaves_main_with_the_next_build(world, features, tmp_path):
    """The source's tables are on main with one more, of which no model is left."""
    made = json.loads(read_bytes(world.lake, world.lake.head(), MADE))
    before = folders(world)
    assert {f"features/{name}" for name in made["tables"]} <= before
    for name in (RETIRED, "_made"):
        (tmp_path / "features" / name).mkdir(parents=True)
    pq.write_table(pa.table({"household_id": [1]}), tmp_path / "features" / RETIRED / "part-00000.parquet")
    with_one_more = json.dumps({**made, "tables": [*made["tables"], RETIRED]})
    (tmp_path / "features" / "_made" / f"{SOURCE.name}.json").write_text(with_one_more)
    world.plant("planted", tmp_path / "features", "features")
    assert folders(world) == {*before, f"features/{RETIRED}"}

    run = world.run(f"build_features__{SOURCE.name}")
    assert (run.state, run.tasks["publish"]) == ("success", "success")
    assert folders(world) == before
    assert json.loads(read_bytes(world.lake, world.lake.head(), MADE)) == made
