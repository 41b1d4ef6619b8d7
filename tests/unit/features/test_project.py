"""The dbt project read as a declaration, and its columns against the expectations on them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from include.features.errors import FeatureProjectError
from include.features.project import PROJECT, declared_table, declared_tables, manifest_hash, read_tables
from include.sources.retail import SOURCE
from include.spec.declaration import DeclarationError
from include.spec.feature import FeatureColumn, FeatureTable

EXPECTATIONS = PROJECT.parent / "expectations" / "features"


def column(name: str) -> FeatureColumn:
    return FeatureColumn(name=name, type="integer", description="Some number.")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, folder)
    return folder


def edit(project: Path, text: str, by: str) -> Path:
    path = project / "models/features/campaign/_campaign__features.yml"
    assert text in path.read_text()
    path.write_text(path.read_text().replace(text, by, 1))
    return project


def test_every_model_of_the_features_layer_is_declared() -> None:
    models = sorted(path.stem for path in PROJECT.glob("models/features/**/*.sql"))
    assert len(models) == 7
    assert [table.name for table in declared_tables()] == models


def test_the_tables_read_are_tables_of_the_source() -> None:
    declared = {table.name for table in SOURCE.tables}
    assert set(read_tables("retail")) == declared - {"promotions"}
    with pytest.raises(FeatureProjectError, match="no source 'flights'; it reads retail"):
        read_tables("flights")


@pytest.mark.parametrize("table", declared_tables(), ids=lambda table: table.name)
def test_a_table_has_expectations_about_its_columns(table: FeatureTable) -> None:
    suite = json.loads((EXPECTATIONS / f"{table.name}.json").read_text())
    assert suite["name"] == table.prefix
    rules = {rule["type"]: rule["kwargs"] for rule in suite["expectations"]}
    columns = [column.name for column in table.columns]
    assert rules["expect_table_columns_to_match_ordered_list"]["column_list"] == columns
    assert rules["expect_compound_columns_to_be_unique"]["column_list"] == [*table.entity, "event_timestamp"]
    named = {rule["kwargs"]["column"] for rule in suite["expectations"] if "column" in rule["kwargs"]}
    assert named <= set(columns)


def test_there_are_no_expectations_without_a_table() -> None:
    assert {path.stem for path in EXPECTATIONS.iterdir()} == {table.name for table in declared_tables()}


def test_models_stay_readable() -> None:
    models = sorted(PROJECT.glob("models/**/*.sql"))
    assert len(models) == 19
    assert [path.name for path in models if len(path.read_text().splitlines()) > 100] == []


def test_an_unknown_table_is_named_with_those_there_are() -> None:
    assert declared_table("feat_campaign__terms").entity == ("campaign_id",)
    with pytest.raises(FeatureProjectError, match=r"no feature table 'feat_x'; it makes feat_c"):
        declared_table("feat_x")


@pytest.mark.parametrize(
    ("text", "by", "told"),
    [
        ("meta: {entity: [campaign_id]}", "meta: {}", "'feat_campaign__terms': field 'config.meta.entity'"),
        (", data_type: varchar", "", "column 'campaign_type': field 'data_type' is missing"),
        ("version: 2", "version: [2", "is no YAML"),
    ],
)
def test_a_declaration_that_lacks_something_names_file_and_field(
    project: Path, text: str, by: str, told: str
) -> None:
    with pytest.raises(FeatureProjectError) as error:
        declared_tables(edit(project, text, by))
    assert told in str(error.value)
    assert "_campaign__features.yml" in str(error.value)


def test_a_table_without_its_times_is_refused(project: Path) -> None:
    with pytest.raises(DeclarationError, match="created_timestamp missing"):
        declared_tables(edit(project, "name: created_timestamp", "name: made_timestamp"))


def test_columns_are_told_once() -> None:
    names = ("a", "event_timestamp", "created_timestamp", "x", "x")
    with pytest.raises(DeclarationError, match="a name is there twice"):
        FeatureTable(name="t", description="T.", entity=("a",), columns=tuple(map(column, names)))


def test_a_table_keeps_its_declaration_as_text() -> None:
    for table in declared_tables():
        assert FeatureTable.from_json(table.to_json()) == table
        assert set(table.key) <= {column.name for column in table.columns}
        assert not {"label", table.label} & {column.name for column in table.features}


def test_the_manifest_hash_follows_what_decides_the_features(project: Path) -> None:
    before = manifest_hash(project)
    assert before == manifest_hash()
    (project / "target").mkdir()
    (project / "target" / "run.sql").write_text("select 1")
    (project / "models" / "notes.txt").write_text("no part of it")
    assert manifest_hash(project) == before
    macro = project / "macros" / "retail_time.sql"
    macro.write_text(macro.read_text() + "\n")
    assert manifest_hash(project) != before


def test_reading_the_project_imports_neither_dbt_nor_an_engine() -> None:
    code = (
        "import sys; from include.features.project import declared_tables; declared_tables(); "
        "print([name for name in ('dbt', 'duckdb', 'pyarrow', 'pandas') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
