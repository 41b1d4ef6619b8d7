"""Every DAG by `dag.test()` on real servers, to both ends of its gate.

What passes is on main once, with its record; what does not leaves main where it was, and its branch is kept
with the verdict. A shop, a lake and a registry are shared, so a test puts back what it planted.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from include.features.build import TABLE_FILE
from include.features.training_set import ROWS_FILE, TRAINING_DOCUMENT, pin_training_set
from include.lake import Lake, checkout
from include.lake.history import log
from include.lake.retention import refused
from include.orchestration.lineage import newest_features
from include.sources.retail import SOURCE
from include.spec.refs import CommitRef
from tests.integration.dag_runs.conftest import AS_OF, COUPON, LAPSE, PART, Run, World, outcomes

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SOON = "2017-11-02T12:00:00"
FEATURES = "features/feat_household__baskets"
PREDICTIONS = f"predictions/{LAPSE.name}"


def main_holds(lake: Lake, run: Run, station: str) -> CommitRef:
    """The one commit of main that a run published."""
    entries = [one for one in log(lake) if one.record is not None and one.record.run_id == run.run_id]
    ours = [one for one in entries if one.record is not None and one.record.station == station]
    assert len(ours) == 1, [one.message for one in log(lake)]
    record = ours[0].record
    assert record is not None
    assert record.verdict.passed
    assert record.checked > 0
    assert len(record.suite_hash) == 64
    assert record.code_version
    return ours[0].commit


def kept_apart(world: World, run: Run, station: str) -> set[str]:
    """The rules that a refused run broke, by the verdict that its branch keeps."""
    assert (run.state, run.tasks["gate"], run.tasks["publish"], run.tasks["refuse"]) == (
        *("failed", "success", "skipped", "failed"),
    )
    assert run.tries["refuse"] == 1, "a refusal is not tried again"
    (kept,) = [one for one in refused(world.lake) if (one.run_id, one.station) == (run.run_id, station)]
    assert not kept.verdict.passed
    assert not [one for one in log(world.lake) if one.record and one.record.run_id == run.run_id]
    return {finding.rule for finding in kept.verdict.findings if finding.severity == "fail"}


def test_every_dag_there_is_can_be_run(world):
    assert world.run.known["errors"] == {}
    flows = {name.partition("__")[0] for name in world.run.known["dags"]}
    assert flows >= {"ingest_batch", "build_features", "train", "score", "monitor"}


def test_an_ingestion_is_published_with_its_record(world, ingested):
    assert ingested.state == "success"
    assert ingested.tasks == {
        "open_draft": "success",
        "land 0": "success",
        "land 1": "success",
        "gate": "success",
        "publish": "success",
        "refuse": "skipped",
    }
    at = main_holds(world.lake, ingested, f"ingest_batch__{SOURCE.name}")
    prefix = SOURCE.prefix("transactions")
    with checkout(world.lake, at, prefix) as held:
        households = pq.read_table(held.path(prefix), columns=["household_id"], partitioning=None)
    assert PART.households is not None
    assert 500 < len(pc.unique(households["household_id"])) <= PART.households


def test_a_bad_batch_is_refused_and_main_stays(world, ingested, refused_branches):
    head, flow = world.lake.head(), f"ingest_batch__{SOURCE.name}"
    world.shop("UPDATE products SET product_id = -product_id WHERE product_id < 26000")
    world.shop("UPDATE campaign_descriptions SET campaign_type = 'Type X' WHERE campaign_id = 1")
    run = world.run(flow)
    world.shop("UPDATE products SET product_id = -product_id WHERE product_id < 0")
    world.shop("UPDATE campaign_descriptions SET campaign_type = 'Type B' WHERE campaign_id = 1")
    assert "expect_column_values_to_be_in_set(campaign_type)" in kept_apart(world, run, flow)
    assert world.lake.head() == head
    assert run.values["refuse.refused"]["branch"] in refused_branches()
    alerts = [json.loads(line) for line in (world.settings.home / "alerts.jsonl").read_text().splitlines()]
    assert [one["task"] for one in alerts if one["run"] == run.run_id] == ["refuse"]

    again = world.run(flow)
    assert (again.state, again.tasks["publish"]) == ("success", "skipped"), "mended: as it was on main"
    assert world.lake.head() == head


def test_features_are_published_with_their_record(world, ingested, built):
    assert built.tasks == {
        "build": "success",
        "gate": "success",
        "publish": "success",
        "refuse": "skipped",
    }
    at = main_holds(world.lake, built, f"build_features__{SOURCE.name}")
    entry = next(log(world.lake, at.commit, limit=1))
    metadata = dict(entry.metadata)
    assert metadata["data_commit"] == main_holds(world.lake, ingested, f"ingest_batch__{SOURCE.name}").commit
    assert len(metadata["dbt_manifest_hash"]) == 64
    assert set(built.values["build.built"]["tables"]) >= {FEATURES, "features/labels__household_lapse"}


def test_features_that_break_their_suite_are_refused_and_main_stays(world, built, refused_branches):
    """A household with 400 visits in a week passes every gate of the shop's own tables."""
    ingest, build = f"ingest_batch__{SOURCE.name}", f"build_features__{SOURCE.name}"
    world.shop(
        "INSERT INTO transactions SELECT household_id, store_id, 99000000000 + number, product_id, 1, 1, 0,"
        " 0, 0, week, transaction_timestamp FROM generate_series(1, 400) AS number,"
        " (SELECT * FROM transactions WHERE week = 30 ORDER BY household_id LIMIT 1) AS one"
    )
    assert world.run(ingest).tasks["publish"] == "success"
    head = world.lake.head()
    run = world.run(build)
    world.shop("DELETE FROM transactions WHERE basket_id >= 99000000000")
    assert world.run(ingest).tasks["publish"] == "success"
    assert "expect_column_values_to_be_between(visits_28d)" in kept_apart(world, run, build)
    assert run.values["refuse.refused"]["branch"] in refused_branches()
    history = [one.commit for one in log(world.lake)]
    assert history.index(head) == 1, "between the two ingestions, nothing was published"

    again = world.run(build)
    assert (again.state, again.tasks["publish"]) == ("success", "skipped"), "the same features as before"


def test_a_candidate_that_passes_is_registered_signed_and_promoted(world, built, trained):
    assert trained.tasks == {
        "pin": "success",
        "fit": "success",
        "judge": "success",
        "release": "success",
        "stop": "skipped",
    }
    main_holds(world.lake, trained, f"train__{LAPSE.name}")
    champion = world.registry.champion(LAPSE.name)
    assert champion is not None
    assert world.registry.versions(LAPSE.name) == [champion]
    assert trained.values["release.return_value"]["digest"] == champion.digest
    tags = world.registry.version_tags(champion)
    path, at = tags["headrace.manifest"], CommitRef(world.lake.repository, tags["headrace.manifest_commit"])
    with checkout(world.lake, at, path) as held:
        manifest = json.loads(held.path(path).read_text())["manifest"]
    assert manifest["as_of"] == AS_OF
    assert manifest["feature_commit"] == newest_features(world.lake, SOURCE.name).commit
    assert manifest["training_set_id"] == trained.values["pin.return_value"]["id"]
    assert world.registry.client.get_run(champion.run_id).info.status == "FINISHED"


@pytest.mark.parametrize("product", [LAPSE, COUPON], ids=["no better than the champion", "no skill shown"])
def test_a_candidate_that_does_not_pass_stops_as_a_result(world, trained, product):
    before = world.registry.champion(product.name), world.registry.versions(product.name)
    run = world.run(f"train__{product.name}", as_of=AS_OF)
    assert run.state == "success"
    assert run.tasks == {
        "pin": "success",
        "fit": "success",
        "judge": "success",
        "release": "skipped",
        "stop": "success",
    }
    verdict = run.values["judge.judged"]["verdict"]
    assert verdict["passed"] is False
    assert [finding for finding in verdict["findings"] if finding["severity"] == "fail"]
    assert before == (world.registry.champion(product.name), world.registry.versions(product.name))
    keys = {one.record.run_id for one in log(world.lake) if one.record and one.record.station == "release"}
    assert f"train__{product.name}/{run.run_id}" not in keys
    assert world.registry.client.get_run(run.values["fit.return_value"]["run_id"]).info.status == "FINISHED"


def test_predictions_are_published_with_what_made_them(world, scored):
    assert scored.tasks == {
        "score": "success",
        "gate": "success",
        "publish": "success",
        "refuse": "skipped",
    }
    at = main_holds(world.lake, scored, f"score__{LAPSE.name}")
    with checkout(world.lake, at, PREDICTIONS) as held:
        rows = pq.read_table(held.path(PREDICTIONS), partitioning=None)
    champion = world.registry.champion(LAPSE.name)
    assert champion is not None
    assert rows.num_rows == scored.values["score.scored"]["rows"] > 400
    assert set(rows["model_digest"].to_pylist()) == {champion.digest}
    assert set(rows["feature_commit"].to_pylist()) == {newest_features(world.lake, SOURCE.name).commit}
    assert len(set(rows["household_id"].to_pylist())) == rows.num_rows


def test_predictions_that_break_their_suite_are_refused_and_main_stays(
    world, scored, refused_branches, tmp_path
):
    """A batch that was scored twice, by whoever could write past the gate."""
    flow = f"score__{LAPSE.name}"
    with checkout(world.lake, world.lake.head(), PREDICTIONS) as held:
        (file,) = held.path(PREDICTIONS).glob("*.parquet")
        rows = pq.read_table(file)
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder, table in ((good, rows), (bad, pa.concat_tables([rows, rows.slice(0, 1)]))):
        folder.mkdir()
        pq.write_table(table, folder / file.name)
    world.plant("test", bad, PREDICTIONS)
    head = world.lake.head()
    run = world.run(flow, as_of=SOON)
    stayed = world.lake.head() == head
    world.plant("test", good, PREDICTIONS)
    assert stayed
    assert kept_apart(world, run, flow) == {"one score per point, moment and model"}
    assert run.values["refuse.refused"]["branch"] in refused_branches()


def test_a_champion_that_holds_up_asks_for_nothing(world, scored):
    run = world.run(f"monitor__{LAPSE.name}", as_of=AS_OF)
    assert run.tasks == {"watch": "success", "request_retraining": "skipped"}
    found = run.values["watch.monitored"]
    assert (found["retrain"], found["reasons"], found["as_of"]) == (False, [], AS_OF)
    at = main_holds(world.lake, run, f"monitor__{LAPSE.name}")
    assert at.commit == found["published"]["commit"]


def test_a_champion_that_has_grown_old_asks_for_another(world, scored):
    run = world.run(f"monitor__{LAPSE.name}")
    found = run.values["watch.monitored"]
    assert found["retrain"] is True, found
    assert run.tasks == {"watch": "success", "request_retraining": "success"}
    assert any("days old" in reason for reason in found["reasons"])
    assert found["matured_rows"] > 400
    assert 0 < found["performance"] <= 1
    main_holds(world.lake, run, f"monitor__{LAPSE.name}")


def moved(rows: pa.Table, **columns: Any) -> pa.Table:
    """Rows with columns set to one value."""
    for name, value in columns.items():
        index = rows.schema.get_field_index(name)
        field = rows.schema.field(index)
        rows = rows.set_column(index, field, pa.array([value] * rows.num_rows, field.type))
    return rows


@pytest.fixture
def planted_future(world: World, trained: Run, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Plants rows about the future among features and labels of main; takes them out again in the end.

    Of each household its newest row as of AS_OF is told again with absurd numbers: as if it told of a later
    time but was known before, and as if it told of that time but became known after. And every label that
    had not matured by then is told, the other way round, as maturing just after.
    """
    moment = datetime.fromisoformat(AS_OF)
    after = moment + timedelta(microseconds=1)
    labels = f"features/{LAPSE.label.table}"
    made = newest_features(world.lake, SOURCE.name)
    metadata = dict(next(log(world.lake, made.commit, limit=1)).metadata)
    about = {key: metadata[key] for key in ("data_commit", "dbt_manifest_hash")}
    folders: dict[str, Path] = {}
    with checkout(world.lake, made, "features") as held:
        for path in (FEATURES, labels):
            rows = pq.read_table(held.path(path), partitioning=None)
            (part,) = held.path(path).glob("*.parquet")
            for kind in ("good", "bad"):
                folders[f"{kind} {path}"] = folder = tmp_path / kind / path
                folder.mkdir(parents=True)
                (folder / TABLE_FILE).write_bytes((held.path(path) / TABLE_FILE).read_bytes())
                pq.write_table(rows if kind == "good" else poisoned(rows, moment, after), folder / part.name)

    def put(kind: str) -> None:
        world.plant(f"build_features__{SOURCE.name}", tmp_path / kind / "features", "features", **about)

    yield lambda: put("bad")
    put("good")


def poisoned(rows: pa.Table, moment: datetime, after: datetime) -> pa.Table:
    if LAPSE.label.column in rows.schema.names:
        began = pc.less_equal(rows["event_timestamp"], moment)
        unmatured = pc.and_(began, pc.greater(rows["matured_timestamp"], moment))
        turned = moved(rows.filter(unmatured), matured_timestamp=after, lapsed=1)
        assert turned.num_rows > 100
        return pa.concat_tables([rows.filter(pc.invert(unmatured)), turned])
    known = rows.filter(pc.less_equal(rows["created_timestamp"], moment))
    newest = pc.max(known["event_timestamp"]).as_py()
    last = known.filter(pc.equal(known["event_timestamp"], newest))
    assert last.num_rows > 400
    absurd = moved(last, visits_28d=299, visits_91d=999, days_since_visit=1)
    return pa.concat_tables(
        [rows, moved(absurd, event_timestamp=after), moved(absurd, created_timestamp=after)]
    )


def test_a_planted_future_reaches_no_training_set(world, trained, planted_future, tmp_path):
    before = trained.values["pin.return_value"]
    planted_future()
    assert newest_features(world.lake, SOURCE.name).commit != before["features_at"]["commit"]
    run = world.run(f"train__{LAPSE.name}", as_of=AS_OF)
    after = run.values["pin.return_value"]
    assert after["features_at"]["commit"] == newest_features(world.lake, SOURCE.name).commit
    assert after["id"] == before["id"], "the same content, to the bit"
    with checkout(world.lake, newest_features(world.lake, SOURCE.name), "features") as held:
        soon = pin_training_set(LAPSE, held.path("features"), datetime.fromisoformat(SOON), tmp_path / "soon")
    rows = pq.read_table(soon.rows)
    turned = rows.filter(pc.equal(rows["matured_timestamp"], pc.max(rows["matured_timestamp"])))
    assert turned.num_rows > 100
    assert set(turned["label"].to_pylist()) == {1}, "what was planted is learnt from once it is past"


def test_the_auditor_finds_nothing_and_sees_a_training_set_that_was_tampered_with(world, scored, tmp_path):
    code, found = outcomes(world)
    assert code == 0, [fault for one in found.values() for fault in one["violations"]]
    reached = {"I1", "I2", "I4", "I5", "I6", "I7", "I8", "I9", "I10"}
    assert {name for name, one in found.items() if one["outcome"] == "kept"} >= reached

    champion = world.registry.champion(LAPSE.name)
    assert champion is not None
    prefix = f"training_sets/{LAPSE.name}/{world.registry.version_tags(champion)['headrace.training_set_id']}"
    with checkout(world.lake, world.lake.head(), prefix) as held:
        good, bad = tmp_path / "good", tmp_path / "bad"
        rows = pq.read_table(held.path(prefix) / ROWS_FILE)
        for folder in (good, bad):
            folder.mkdir()
            (folder / TRAINING_DOCUMENT).write_bytes((held.path(prefix) / TRAINING_DOCUMENT).read_bytes())
            (folder / ROWS_FILE).write_bytes((held.path(prefix) / ROWS_FILE).read_bytes())
    pq.write_table(moved(rows, matured_timestamp=datetime.now(UTC).replace(tzinfo=None)), bad / ROWS_FILE)
    world.plant("test", bad, prefix)
    code, found = outcomes(world)
    world.plant("test", good, prefix)
    assert code == 1
    assert {one["id"] for one in found["I8"]["violations"]} == {prefix}
    assert outcomes(world)[0] == 0
