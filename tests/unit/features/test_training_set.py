"""Pinned sets: nothing that was not yet known, periods apart from each other, one content one name."""

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.features.build import DATA_FILE, FeatureBuild
from include.features.content import content_hash
from include.features.errors import TrainingSetError
from include.features.points import matured_labels, newest_moment
from include.features.training_set import (
    ROWS_FILE,
    SCORING_DOCUMENT,
    TRAINING_DOCUMENT,
    PinnedSet,
    pin_scoring_set,
    pin_training_set,
)
from include.products import PRODUCTS
from include.spec.feature import FeatureTable
from include.spec.product import ModelProduct, Split, days

NEWEST = datetime(2018, 1, 1, 6)
REDEMPTION, LAPSE = PRODUCTS
PERIODS = {
    REDEMPTION.name: Split(validation=days(90), test=days(40)),
    LAPSE.name: Split(validation=days(61), test=days(31)),
}


def with_fields(product: ModelProduct, **fields: Any) -> ModelProduct:
    return product.model_copy(update=fields)


@pytest.fixture(params=[REDEMPTION, LAPSE], ids=lambda product: product.name)
def product(request: pytest.FixtureRequest) -> ModelProduct:
    return with_fields(request.param, split=PERIODS[request.param.name])


@pytest.fixture
def features(built: FeatureBuild, output: Path, tmp_path: Path) -> Path:
    """A copy of the feature tables that a test may change."""
    return shutil.copytree(output, tmp_path / "features")


def rewrite(features: Path, table: str, query: str, files: int = 1) -> None:
    """Replace a feature table's rows by a query on its view `rows`, in one file or several."""
    folder = features / table
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE rows AS FROM '{folder / DATA_FILE}'")
        connection.execute(f"CREATE TABLE changed AS {query}")
        (folder / DATA_FILE).unlink()
        for number in range(files):
            chosen = f"SELECT * FROM changed WHERE rowid % {files} = {number}"
            connection.execute(f"COPY ({chosen}) TO '{folder / f'file-{number}.parquet'}' (FORMAT parquet)")


def read(pinned: PinnedSet) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(pinned.rows).to_pylist()
    return rows


def by_split(rows: Sequence[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    chosen = [row for row in rows if row["split"] == split]
    assert chosen, f"no rows to {split}"
    return chosen


def test_a_training_set_says_what_it_holds(product: ModelProduct, features: Path, tmp_path: Path) -> None:
    pinned = pin_training_set(product, features, NEWEST, tmp_path / "sets", commit="c0ffee")
    assert pinned.folder == tmp_path / "sets" / pinned.id
    assert {path.name for path in pinned.folder.iterdir()} == {ROWS_FILE, TRAINING_DOCUMENT}
    document = json.loads((pinned.folder / TRAINING_DOCUMENT).read_text())
    assert document == pinned.document
    assert document["content_sha256"].startswith(document["id"])
    assert (document["product"], document["feature_commit"]) == (product.name, "c0ffee")
    rows = pq.read_table(pinned.rows)
    assert rows.schema.names == [column["name"] for column in document["columns"]]
    assert rows.schema.names == [
        *product.entity,
        "event_timestamp",
        "matured_timestamp",
        "label",
        "split",
        *pinned.features,
        *(f"{table}__{time}_timestamp" for table in product.features for time in ("event", "created")),
    ]
    assert len(pinned.features) >= 33
    keys = [tuple(row[key] for key in (*product.entity, "event_timestamp")) for row in rows.to_pylist()]
    assert keys == sorted(set(keys))
    assert sum(split["rows"] for split in document["rows"].values()) == rows.num_rows
    folder = features / product.label.table
    matured = pq.read_table(folder / DATA_FILE, filters=[("matured_timestamp", "<=", NEWEST)]).num_rows
    assert rows.num_rows + document["dropped_by_embargo"] == matured


def test_nothing_is_newer_than_its_point(product: ModelProduct, features: Path, tmp_path: Path) -> None:
    rows = read(pin_training_set(product, features, NEWEST, tmp_path))
    used = 0
    for row in rows:
        times = [row[f"{t}__{time}_timestamp"] for t in product.features for time in ("event", "created")]
        used += sum(time is not None for time in times)
        assert all(time is None or time <= row["event_timestamp"] for time in times)
    assert used > 2 * len(rows)


def test_no_label_is_newer_than_the_moment(product: ModelProduct, features: Path, tmp_path: Path) -> None:
    moment = datetime(2017, 12, 20)
    rows = read(pin_training_set(product, features, moment, tmp_path))
    assert len(rows) > 100
    assert max(row["matured_timestamp"] for row in rows) <= moment
    later = read(pin_training_set(product, features, NEWEST, tmp_path))
    assert max(row["matured_timestamp"] for row in later) > moment


def test_periods_are_apart(product: ModelProduct, features: Path, tmp_path: Path) -> None:
    rows = read(pin_training_set(product, features, NEWEST, tmp_path))
    train, validation, test = (by_split(rows, split) for split in ("train", "validation", "test"))
    first_validation = min(row["event_timestamp"] for row in validation)
    first_test = min(row["event_timestamp"] for row in test)
    assert max(row["matured_timestamp"] for row in train) <= first_validation
    assert max(row["matured_timestamp"] for row in validation) <= first_test
    newest = max(row["event_timestamp"] for row in rows)
    assert first_test > newest - product.split.test
    assert first_validation > newest - product.split.test - product.split.validation


def test_the_name_follows_the_content_alone(product: ModelProduct, features: Path, tmp_path: Path) -> None:
    first = pin_training_set(product, features, NEWEST, tmp_path / "first", commit="one")
    again = pin_training_set(product, features, NEWEST, tmp_path / "again", commit="two")
    assert again.id == first.id
    assert again.rows.read_bytes() == first.rows.read_bytes()
    for number, table in enumerate((*product.features, product.label.table)):
        rewrite(features, table, "FROM rows ORDER BY hash(rows)", files=number % 3 + 1)
    shuffled = pin_training_set(product, features, NEWEST, tmp_path / "shuffled")
    assert shuffled.id == first.id
    assert shuffled.rows.read_bytes() == first.rows.read_bytes()


def test_another_value_is_another_name(features: Path, tmp_path: Path) -> None:
    before = pin_training_set(LAPSE, features, NEWEST, tmp_path).id
    query = "SELECT * REPLACE (CASE WHEN age = '19-24' THEN '25-34' ELSE age END AS age) FROM rows"
    rewrite(features, "feat_household__demographics", query)
    assert pin_training_set(LAPSE, features, NEWEST, tmp_path).id != before


def test_a_planted_future_reaches_no_set(product: ModelProduct, features: Path, tmp_path: Path) -> None:
    """Rows that lie about the future: known before they happened, or happened before they were known."""
    before = pin_training_set(product, features, NEWEST, tmp_path / "before")
    scored = pin_scoring_set(product, features, NEWEST, tmp_path / "before")
    for column, shift in (("event_timestamp", "created_timestamp"), ("created_timestamp", "event_timestamp")):
        late = f"SELECT * REPLACE (TIMESTAMP '2018-01-01 06:00:00.000001' AS {column}) FROM rows QUALIFY "
        once = f"row_number() OVER (PARTITION BY household_id ORDER BY {shift} DESC) = 1"
        poisoned = f"SELECT * REPLACE (visits_28d + 1000 AS visits_28d) FROM ({late}{once})"
        rewrite(features, "feat_household__baskets", f"FROM rows UNION ALL {poisoned}")
        (features / "feat_household__baskets" / "file-0.parquet").rename(
            features / "feat_household__baskets" / DATA_FILE
        )
    after = pin_training_set(product, features, NEWEST, tmp_path / "after")
    assert after.rows.read_bytes() == before.rows.read_bytes()
    assert pin_scoring_set(product, features, NEWEST, tmp_path / "after").id == scored.id


def test_a_late_correction_counts_from_when_it_came(features: Path, tmp_path: Path) -> None:
    """The cut before November is corrected before the point, that before December an hour after it."""
    household = pq.read_table(features / "labels__household_lapse" / DATA_FILE)["household_id"][0].as_py()
    corrected = (
        "SELECT * REPLACE (visits_28d + 1000 AS visits_28d, TIMESTAMP '{created}' AS created_timestamp) "
        f"FROM rows WHERE household_id = {household} AND event_timestamp = TIMESTAMP '{{event}}'"
    )
    in_time = corrected.format(event="2017-10-30 04:00:00", created="2017-11-01 06:00:00")
    too_late = corrected.format(event="2017-11-27 05:00:00", created="2017-12-01 07:00:00")
    rewrite(features, "feat_household__baskets", f"FROM rows UNION ALL {in_time} UNION ALL {too_late}")
    rows = read(pin_training_set(with_fields(LAPSE, split=PERIODS[LAPSE.name]), features, NEWEST, tmp_path))
    mine = [row for row in rows if row["household_id"] == household]
    seen = {row["event_timestamp"].month: row["visits_28d"] >= 1000 for row in mine}
    assert {month: seen[month] for month in (10, 11, 12)} == {10: False, 11: True, 12: False}


def test_what_is_open_is_what_is_scored(product: ModelProduct, features: Path, tmp_path: Path) -> None:
    moment = datetime(2017, 12, 15)
    pinned = pin_scoring_set(product, features, moment, tmp_path, commit="c0ffee")
    rows = read(pinned)
    labels = pq.read_table(features / product.label.table / DATA_FILE).to_pylist()
    keys = (*product.entity, "event_timestamp")
    due = {
        tuple(label[key] for key in keys)
        for label in labels
        if label["event_timestamp"] <= moment < label["matured_timestamp"]
    }
    assert {tuple(row[key] for key in keys) for row in rows} == due
    assert len(rows) == len(due) == pinned.document["rows"] > 20
    assert not {"label", "split", "matured_timestamp"} & set(rows[0])
    assert json.loads((pinned.folder / SCORING_DOCUMENT).read_text()) == pinned.document


def test_a_model_is_asked_as_it_was_taught(product: ModelProduct, features: Path, tmp_path: Path) -> None:
    """A point has the same features when it is open and when it has matured."""
    moment = datetime(2017, 11, 20)
    asked = read(pin_scoring_set(product, features, moment, tmp_path))
    pinned = pin_training_set(product, features, NEWEST, tmp_path)
    keys = (*product.entity, "event_timestamp")
    taught = {tuple(row[key] for key in keys): row for row in read(pinned)}
    common = [row for row in asked if tuple(row[key] for key in keys) in taught]
    assert len(common) > 20
    for row in common:
        then = taught[tuple(row[key] for key in keys)]
        assert {name: row[name] for name in pinned.features} == {name: then[name] for name in pinned.features}


def test_there_may_be_nothing_to_score(product: ModelProduct, features: Path, tmp_path: Path) -> None:
    pinned = pin_scoring_set(product, features, datetime(2016, 1, 1), tmp_path)
    assert (read(pinned), pinned.document["rows"]) == ([], 0)


def test_truths_are_told_as_they_matured(product: ModelProduct, features: Path) -> None:
    moment = datetime(2017, 12, 1)
    told = matured_labels(product, features, moment)
    assert told.column_names == [*product.entity, "event_timestamp", "matured_timestamp", "label"]
    assert 0 < told.num_rows < matured_labels(product, features, NEWEST).num_rows
    assert max(told["matured_timestamp"].to_pylist()) <= moment
    assert told["label"].null_count == 0


def test_the_newest_moment_is_the_last_close(features: Path, tmp_path: Path) -> None:
    assert newest_moment(features) == NEWEST
    with pytest.raises(TrainingSetError, match="holds no feature table"):
        newest_moment(tmp_path / "nowhere")


def test_a_moment_with_a_zone_is_that_moment(features: Path, tmp_path: Path) -> None:
    there = NEWEST.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=-5)))
    pinned = [pin_scoring_set(LAPSE, features, moment, tmp_path) for moment in (NEWEST, there)]
    assert pinned[0].document == pinned[1].document


Change = Callable[[Path, ModelProduct], ModelProduct]


def twice(features: Path, product: ModelProduct) -> ModelProduct:
    rewrite(features, "feat_household__baskets", "FROM rows UNION ALL (FROM rows LIMIT 1)")
    return product


def points_twice(features: Path, product: ModelProduct) -> ModelProduct:
    rewrite(features, "labels__household_lapse", "FROM rows UNION ALL (FROM rows LIMIT 1)")
    return product


def gone(features: Path, product: ModelProduct) -> ModelProduct:
    shutil.rmtree(features / "feat_household__demographics")
    return product


def foreign(features: Path, product: ModelProduct) -> ModelProduct:
    return with_fields(product, features=("feat_campaign__terms",))


def excluded(features: Path, product: ModelProduct) -> ModelProduct:
    return with_fields(product, exclude=("shoe_size",))


def clash(features: Path, product: ModelProduct) -> ModelProduct:
    path = features / "feat_household__demographics" / "_table.json"
    path.write_text(path.read_text().replace('"age"', '"visits"'))
    return product


def other_truth(features: Path, product: ModelProduct) -> ModelProduct:
    return with_fields(product, label=product.label.model_copy(update={"column": "moved"}))


def long_periods(features: Path, product: ModelProduct) -> ModelProduct:
    return with_fields(product, split=Split(validation=days(400), test=days(60)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (twice, "'feat_household__baskets' holds two rows of one key: household_id="),
        (points_twice, "holds two rows of one key"),
        (gone, "feat_household__demographics: holds no feature table"),
        (foreign, "field 'features': 'feat_campaign__terms' is about campaign_id, too"),
        (excluded, "field 'exclude': shoe_size is no column"),
        (clash, "field 'features': visits is the name of several columns"),
        (other_truth, "holds the truth 'lapsed' of household_id, not 'moved' of household_id"),
        (long_periods, "the train split has no rows"),
    ],
)
def test_bad_input_is_one_clear_error(change: Change, told: str, features: Path, tmp_path: Path) -> None:
    product = change(features, LAPSE)
    with pytest.raises(TrainingSetError) as error:
        pin_training_set(product, features, NEWEST, tmp_path / "sets")
    assert told in str(error.value)
    assert not (tmp_path / "sets").exists()


def test_before_any_truth_there_is_nothing_to_learn(features: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingSetError, match="no label has matured as of 2017-01-15"):
        pin_training_set(LAPSE, features, datetime(2017, 1, 15), tmp_path)


def test_an_excluded_column_is_not_there(features: Path, tmp_path: Path) -> None:
    pinned = pin_training_set(with_fields(LAPSE, exclude=("age",)), features, NEWEST, tmp_path)
    assert "age" not in pq.read_schema(pinned.rows).names


def test_a_row_too_old_is_as_good_as_none(features: Path, tmp_path: Path) -> None:
    path = features / "feat_household__baskets" / "_table.json"
    table = FeatureTable.from_json(path.read_text())
    path.write_text(table.model_copy(update={"max_age_days": 2}).to_json())
    rows = read(pin_training_set(LAPSE, features, NEWEST, tmp_path))
    ages = {
        (row["event_timestamp"] - row["feat_household__baskets__event_timestamp"]).days
        for row in rows
        if row["visits"] is not None
    }
    assert ages
    assert max(ages) <= 2
    assert any(row["visits"] is None for row in rows)


@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(st.none() | st.text(max_size=3), min_size=2, max_size=5),
    position=st.integers(0, 4),
    other=st.none() | st.text(max_size=3),
)
def test_a_hash_tells_any_two_contents_apart(
    texts: list[str | None], position: int, other: str | None
) -> None:
    changed = [*texts]
    changed[position % len(texts)] = other
    hashes = [content_hash(pa.table({"text": pa.array(each, pa.string())}), {}) for each in (texts, changed)]
    assert (hashes[0] == hashes[1]) == (texts == changed)


def test_names_and_types_belong_to_the_content() -> None:
    tables = [
        pa.table({"a": pa.array([1, None], pa.int32())}),
        pa.table({"b": pa.array([1, None], pa.int32())}),
        pa.table({"a": pa.array([1, None], pa.int64())}),
        pa.table({"a": pa.array([1, 0], pa.int32())}),
        pa.table({"a": pa.array([1.0, None], pa.float64())}),
        pa.table({"a": pa.array([NEWEST, None], pa.timestamp("us"))}),
        pa.table({"a": pa.array([True, None])}),
    ]
    hashes = {content_hash(table, {}) for table in tables} | {content_hash(tables[0], {"product": "p"})}
    assert len(hashes) == len(tables) + 1
