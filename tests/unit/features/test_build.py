"""The feature build on a slice of the real data: complete, exact, repeatable, and blind to the future."""

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from include.features.build import DATA_FILE, TABLE_FILE, FeatureBuild, build_features
from include.features.dbt import Bounds, Dbt, scratch_folder
from include.features.errors import FeatureBuildError
from include.features.project import PROJECT, declared_tables, manifest_hash
from include.sources.retail import SOURCE
from include.spec.feature import FeatureTable
from tests.unit.features.conftest import digest, write_raw

BASKETS = "feat_household__baskets"
TABLES = {
    "feat_campaign__terms",
    BASKETS,
    "feat_household__campaigns",
    "feat_household__demographics",
    "feat_household_campaign__affinity",
    "labels__coupon_redemption",
    "labels__household_lapse",
}
ARROW = {"integer": "int32", "double": "double", "varchar": "string", "timestamp": "timestamp[us]"}


def test_every_model_and_test_ran_and_every_table_is_there(built: FeatureBuild, output: Path) -> None:
    assert {table.name for table in built.tables} == TABLES
    models = sorted(PROJECT.glob("models/**/*.sql"))
    ran = [result for result in built.results if result.kind == "model"]
    assert {result.name for result in ran} == {path.stem for path in models}
    assert len(ran) == 19
    tests = [result for result in built.results if result.kind == "test"]
    assert len(tests) == 29
    assert {result.status for result in built.results} == {"success", "pass"}
    assert all((PROJECT.parent / result.file).is_file() for result in built.results)
    assert built.manifest_hash == manifest_hash()
    for path, rows in built.rows.items():
        assert rows > 0
        assert pq.read_metadata(output / path.removeprefix("features/") / DATA_FILE).num_rows == rows


@pytest.mark.parametrize("table", declared_tables(), ids=lambda table: table.name)
def test_a_table_is_what_the_project_declares(table: FeatureTable, built: FeatureBuild, output: Path) -> None:
    folder = output / table.name
    assert FeatureTable.from_json((folder / TABLE_FILE).read_text()) == table
    rows = pq.read_table(folder / DATA_FILE)
    assert rows.schema.names == [column.name for column in table.columns]
    assert [str(field.type) for field in rows.schema] == [ARROW[column.type] for column in table.columns]
    keys = rows.select(table.key)
    assert keys.equals(keys.sort_by([(name, "ascending") for name in table.key]))
    assert keys.group_by(list(table.key)).aggregate([]).num_rows == rows.num_rows


def test_the_same_rows_give_the_same_bytes(
    built: FeatureBuild, output: Path, state: Path, changed: Callable[[str, str], Path], tmp_path: Path
) -> None:
    folder = changed("transactions", "FROM rows ORDER BY hash(basket_id, product_id)")
    changed("campaigns", "FROM rows ORDER BY hash(household_id, campaign_id)")
    file = folder / "raw/retail/transactions/snapshot/run-00000.parquet"
    with duckdb.connect() as connection:
        for part in (1, 2):
            query = f"SELECT * FROM '{file}' WHERE basket_id % 2 = {part - 1}"
            connection.execute(f"COPY ({query}) TO '{file.with_name(f'run-0000{part}.parquet')}'")
    file.unlink()
    again = tmp_path / "again"
    build_features(folder, again, state=state, bounds=Bounds(threads=1, engine_threads=1))
    assert digest(again) == digest(output)


def test_what_was_known_does_not_change_when_the_future_comes(
    built: FeatureBuild, output: Path, state: Path, changed: Callable[[str, str], Path], tmp_path: Path
) -> None:
    """A build of the data as of a night has every row that was known then, to the last bit."""
    folder = changed("transactions", "FROM rows WHERE transaction_timestamp < '2017-10-30 04:00:00'")
    changed("coupon_redemptions", "FROM rows WHERE redemption_date < '2017-10-30'")
    then = tmp_path / "then"
    build_features(folder, then, state=state)
    for table in built.tables:
        known = "created_timestamp" if table.label is None else "event_timestamp"
        truth = "" if table.label is None else f"EXCLUDE ({table.label})"
        with duckdb.connect() as connection:
            now = connection.execute(
                f"SELECT * {truth} FROM '{output / table.name / DATA_FILE}' "
                f"WHERE {known} <= '2017-10-30 06:00:00' ORDER BY {', '.join(table.key)}"
            ).fetchall()
            told = connection.execute(f"SELECT * {truth} FROM '{then / table.name / DATA_FILE}'").fetchall()
        assert len(told) > 0
        assert told == now


def test_truths_are_null_until_they_are_known(
    built: FeatureBuild, output: Path, state: Path, changed: Callable[[str, str], Path], tmp_path: Path
) -> None:
    folder = changed("transactions", "FROM rows WHERE transaction_timestamp < '2017-08-02 04:00:00'")
    build_features(folder, tmp_path / "then", state=state)
    for name, truth in (("labels__coupon_redemption", "redeemed"), ("labels__household_lapse", "lapsed")):
        rows = pq.read_table(tmp_path / "then" / name / DATA_FILE).to_pylist()
        assert {row[truth] is None for row in rows} == {True, False}
        assert all(
            (row[truth] is None) == (str(row["matured_timestamp"]) > "2017-08-02 06:00:00") for row in rows
        )


def test_rows_that_go_apart_take_no_household_week_or_label_with_them(
    built: FeatureBuild, output: Path, state: Path, checkout: Path, tmp_path: Path
) -> None:
    """What the rules of the source put apart changes discounts, and no row's presence."""
    folder = shutil.copytree(checkout, tmp_path / "released")
    ruled = [table for table in SOURCE.tables if table.rules]
    assert {table.name for table in ruled} == {"transactions", "coupons"}
    for of_source in ruled:
        shutil.rmtree(folder / SOURCE.prefix(of_source.name))
        write_raw(of_source.model_copy(update={"rules": ()}), folder)
    released = tmp_path / "features"
    build_features(folder, released, state=state)
    for table in built.tables:
        columns = table.key if table.label is None else (*table.key, "matured_timestamp", table.label)
        files = [pq.read_table(to / table.name / DATA_FILE) for to in (output, released)]
        assert files[0].select(columns).equals(files[1].select(columns)), table.name
    spent = [pq.read_table(to / BASKETS / DATA_FILE)["coupon_discount_91d"] for to in (output, released)]
    assert not spent[0].equals(spent[1])


def test_a_failing_test_names_itself_and_leaves_nothing(
    changed: Callable[[str, str], Path], state: Path, tmp_path: Path
) -> None:
    folder = changed("transactions", "FROM rows UNION ALL (FROM rows LIMIT 1)")
    with pytest.raises(FeatureBuildError) as error:
        build_features(folder, tmp_path / "out", state=state)
    assert "_retail__models.yml" in str(error.value)
    assert "unique_key_stg_retail__transactions_basket_id__product_id" in str(error.value)
    assert "Got 1 result" in str(error.value)
    assert int(str(error.value.ids["skipped"])) > 5
    assert not (tmp_path / "out").exists()
    assert not list(state.glob("build-*"))


@pytest.mark.parametrize(
    ("broken", "by", "told"),
    [
        ("campaigns.campaign_type", "campaigns.kind", 'column named "kind"'),
        ("as duration_days", "as length_days", "contract"),
    ],
)
def test_a_failing_model_tells_file_and_cause(
    broken: str, by: str, told: str, checkout: Path, tmp_path: Path
) -> None:
    project = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, project)
    model = project / "models/features/campaign/feat_campaign__terms.sql"
    model.write_text(model.read_text().replace(broken, by))
    with pytest.raises(FeatureBuildError) as error:
        build_features(checkout, tmp_path / "out", state=tmp_path / "state", project=project)
    shown = "dbt_project/models/features/campaign/feat_campaign__terms.sql: model 'feat_campaign__terms': "
    assert str(error.value).startswith(shown)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_project_that_is_none_is_refused(checkout: Path, tmp_path: Path) -> None:
    project = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, project)
    (project / "models/features/campaign/more.sql").write_text("select * from {{ ref('nowhere') }}")
    with pytest.raises(FeatureBuildError, match=r"no valid dbt project.*nowhere"):
        build_features(checkout, tmp_path / "out", state=tmp_path / "state", project=project)


def test_a_source_that_is_not_there_is_named(tmp_path: Path, state: Path) -> None:
    with pytest.raises(FeatureBuildError, match="holds no raw/flights"):
        build_features(tmp_path, tmp_path / "out", source="flights", state=state)


def test_the_unit_tests_of_the_models_pass(checkout: Path, state: Path, built: FeatureBuild) -> None:
    with scratch_folder(state) as scratch:
        results = Dbt(checkout, scratch, state).build(["source:retail+"], unit_tests=True)
    told = [result for result in results if result.kind == "unit_test"]
    assert len(told) == 9
    assert {result.status for result in told} == {"pass"}


def test_the_documentation_tells_of_every_table(built: FeatureBuild) -> None:
    assert built.docs is not None
    page = built.docs.read_text()
    assert all(table.name in page and table.columns[-1].description in page for table in built.tables)
    assert {path.name for path in built.docs.parent.iterdir()} == {
        "index.html",
        "manifest.json",
        "catalog.json",
        "run_results.json",
    }
