"""Build the feature tables of one commit: checkout in, one Parquet file per table out."""

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from include.features.dbt import Bounds, Dbt, NodeResult, scratch_folder
from include.features.errors import FeatureBuildError
from include.features.project import PROJECT, declared_tables, manifest_hash
from include.settings import home_folder
from include.spec.feature import FeatureTable

if TYPE_CHECKING:
    import duckdb

DATA_FILE = "part-00000.parquet"
TABLE_FILE = "_table.json"
ROW_GROUP_ROWS = 122_880

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureBuild:
    """What one build made.

    Args:
        tables: The feature tables, as they lie in the output folder.
        results: How each model and test went, in the order in which they ended.
        manifest_hash: Hash of the dbt project and its engines.
        seconds: What the build took, starting dbt included.
        docs: The documentation's page, if it was asked for.
    """

    tables: tuple[FeatureTable, ...]
    results: tuple[NodeResult, ...]
    manifest_hash: str
    seconds: float
    docs: Path | None = None

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each feature table, by its lake path."""
        counted = {result.name: result.rows or 0 for result in self.results if result.kind == "model"}
        return {table.prefix: counted[table.name] for table in self.tables}


def build_features(
    checkout: Path,
    output: Path,
    *,
    source: str = "retail",
    docs: Path | None = None,
    state: Path | None = None,
    bounds: Bounds | None = None,
    project: Path = PROJECT,
) -> FeatureBuild:
    """Build all feature tables that follow from a source, and write those into a folder.

    The same checkout gives the same bytes, whatever the number of threads, so that a rebuild publishes
    nothing. The output folder gets `<table>/part-00000.parquet`, in order of the table's key, and
    `<table>/_table.json`; it is written to only if every model and every test passed.

    Args:
        checkout: Folder of a commit that holds `raw/<source>/`.
        output: Folder to write the tables into; it is what goes to `features/` of the lake.
        source: Name of the source.
        docs: Folder to write the project's documentation into.
        state: Folder for scratch files and parsed projects; one of the state folder by default.
        bounds: What it may take of the machine.
        project: The dbt project.

    Raises:
        FeatureBuildError: A table of the source is not there, a model or a test failed, or dbt could not run.
    """
    started = time.monotonic()
    state = state or home_folder() / "tmp" / "dbt"
    bounds = bounds or Bounds()
    _check_source(checkout, source)
    with scratch_folder(state) as scratch:
        dbt = Dbt(checkout, scratch, state, project=project, bounds=bounds)
        results = dbt.build([f"source:{source}+"])
        logger.info("%s nodes built in %.1f s", len(results), time.monotonic() - started)
        page = None if docs is None else dbt.document(docs)
        built = {result.name for result in results if result.kind == "model"}
        tables = tuple(table for table in declared_tables(project) if table.name in built)
        counts = _write(dbt.database, tables, output, bounds)
    results = tuple(
        replace(result, rows=counts.get(result.name)) if result.kind == "model" else result
        for result in results
    )
    seconds = time.monotonic() - started
    logger.info("%s feature tables written, %.1f s in all", len(tables), seconds)
    return FeatureBuild(tables, results, manifest_hash(project), seconds, page)


def _check_source(checkout: Path, source: str) -> None:
    if not (checkout / "raw" / source).is_dir():
        raise FeatureBuildError(
            f"The checkout holds no raw/{source}.",
            remedy="Check out a commit that the source was ingested into.",
            checkout=checkout,
        )


def _write(database: Path, tables: tuple[FeatureTable, ...], output: Path, bounds: Bounds) -> dict[str, int]:
    """Write the tables; the rows of every table in the database, by name."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": bounds.engine_threads,
        "memory_limit": bounds.engine_memory,
        "autoinstall_known_extensions": False,
    }
    with duckdb.connect(str(database), read_only=True, config=settings) as connection:
        names = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
        ).fetchall()
        counts = {str(name): _count(connection, str(name)) for (name,) in names}
        for table in tables:
            folder = output / table.name
            folder.mkdir(parents=True, exist_ok=True)
            _copy(connection, table, folder / DATA_FILE)
            (folder / TABLE_FILE).write_text(table.to_json())
    return counts


def _count(connection: "duckdb.DuckDBPyConnection", name: str) -> int:
    rows = connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchall()  # noqa: S608
    return int(rows[0][0])


def _copy(connection: "duckdb.DuckDBPyConnection", table: FeatureTable, path: Path) -> None:
    columns = ", ".join(quoted(column.name) for column in table.columns)
    order = ", ".join(quoted(name) for name in table.key)
    connection.execute(
        f"COPY (SELECT {columns} FROM {quoted(table.name)} ORDER BY {order}) TO {literal(path)} "  # noqa: S608
        f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
    )


def quoted(name: str) -> str:
    """An identifier, quoted."""
    from sqlglot import exp

    return exp.to_identifier(name, quoted=True).sql("duckdb")


def literal(path: Path | str) -> str:
    """A string literal, quoted."""
    from sqlglot import exp

    return exp.Literal.string(str(path)).sql("duckdb")
