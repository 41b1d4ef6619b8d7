"""Whether sources, the dbt project and the suites of expectations tell of the same tables and columns."""

from collections.abc import Iterator, Mapping
from typing import Any

from include.cli.consistency import Checks, distinct, listed, source_file
from include.cli.inventory import Declarations, SuiteFile
from include.spec.feature import EVENT_TIMESTAMP
from include.spec.product import ModelProduct
from include.spec.reads import settings_named
from include.spec.source import Source

ORDERED_LIST = "expect_table_columns_to_match_ordered_list"
_STAGING = "dbt_project/models/staging"


def check_sources(checks: Checks, declared: Declarations) -> None:
    """Checks that sources and their settings are there, each name once."""
    named = [(source_file(source.name), source.name) for source in declared.sources]
    distinct(checks, named, "name", "source")
    for source in declared.sources:
        for table in source.tables:
            for field, setting in settings_named(table.read).items():
                where = f"tables.{table.name}.read.{field}"
                ending = f"_{field}" if "." not in field else ""
                fit = [name for name in declared.settings if name.endswith(ending)]
                checks.known(setting, fit, source_file(source.name), where, "setting")


def check_project(checks: Checks, declared: Declarations) -> None:
    """Checks that dbt reads what sources declare, and that each model is written once and described."""
    declared_raw = {source.name: [table.name for table in source.tables] for source in declared.sources}
    for file, source, table in declared.raw:
        if checks.known(source, declared_raw, file, "sources.name", "source"):
            where = f"sources.{source}.tables"
            checks.known(table, declared_raw[source], file, where, f"table of source {source}")
        staged = f"stg_{source}__{table}"
        accepted = f"{_STAGING}/{source}/{staged}.sql"
        problem = f"{source}.{table} has no staging model {staged!r}"
        checks.hold(
            staged in {m.name for m in declared.written}, file, f"sources.{source}.tables", problem, accepted
        )
    written, described = (
        {model.name for model in models} for models in (declared.written, declared.described)
    )
    for model in declared.written:
        checks.known(model.name, described, model.file, "name", "YAML that describes model")
        _check_calls(checks, declared, model.file, model.calls, written)
    for model in declared.described:
        checks.known(model.name, written, model.file, "models.name", "SQL of model")
    distinct(checks, [(model.file, model.name) for model in declared.written], "name", "model")
    distinct(checks, [(file, table.name) for file, table in declared.tables], "models.name", "feature table")
    for product in declared.products:
        there = {source for _, source, _ in declared.raw}
        checks.known(product.source, there, f"include/products/{product.name}.py", "source", "dbt source")


def check_suites(checks: Checks, declared: Declarations) -> None:
    """Checks that each published table has its suite, over its columns, and each suite its table."""
    tables = _published(declared)
    for path in sorted(tables.keys() - declared.suites.keys()):
        checks.hold(False, _file(path), "expectations", "the file is missing", f"a suite of table {path}")
    for path, suite in declared.suites.items():
        file = _file(path)
        if path not in tables:
            checks.hold(False, file, "name", f"nothing publishes a table {path!r}", listed(sorted(tables)))
        elif checks.hold(not suite.problem, file, "expectations", suite.problem, "a suite of expectations"):
            checks.hold(suite.name == path, file, "name", f"{suite.name!r} is another table", path)
            _check_rules(checks, file, suite, tables[path])


def predicted_columns(product: ModelProduct) -> tuple[str, ...]:
    """Columns of a product's predictions, in order."""
    from include.serving import batch

    made = (batch.SCORE, batch.PREDICTED_AT, batch.MODEL_VERSION, batch.MODEL_DIGEST, batch.FEATURE_COMMIT)
    return (*product.entity, EVENT_TIMESTAMP, *made)


def _published(declared: Declarations) -> dict[str, tuple[str, ...]]:
    from include.validation import changes

    columns = {
        f"raw/{source.name}/{table.name}": tuple(column.name for column in table.columns)
        for source in declared.sources
        for table in source.tables
    }
    # One suite for the change logs of all tables: it is about changes, not about rows.
    if changes.TABLE in declared.suites or any(source.capture for source in declared.sources):
        columns[changes.TABLE] = tuple(changes.COLUMNS)
    for source in declared.sources:
        columns |= _staged(source)
    for _, feature_table in declared.tables:
        columns[feature_table.prefix] = tuple(column.name for column in feature_table.columns)
    for product in declared.products:
        columns[f"predictions/{product.name}"] = predicted_columns(product)
    return columns


def _staged(source: Source) -> dict[str, tuple[str, ...]]:
    from include.features import staged_log

    columns = {}
    for name in source.capture.tables if source.capture else ():
        own = [column.name for column in source.table(name).columns]
        columns[staged_log.current_prefix(source.name, name)] = staged_log.current_columns(own)
        columns[staged_log.history_prefix(source.name, name)] = staged_log.history_columns(own)
    return columns


def _check_rules(checks: Checks, file: str, suite: SuiteFile, columns: tuple[str, ...]) -> None:
    lists = [number for number, rule in enumerate(suite.rules) if rule["type"] == ORDERED_LIST]
    problem = f"there are {len(lists)} rules {ORDERED_LIST}"
    checks.hold(len(lists) == 1, file, "expectations", problem, "exactly one")
    for number, rule in enumerate(suite.rules):
        where = f"expectations[{number}].kwargs"
        if number in lists:
            found = list(rule["kwargs"].get("column_list", ()))
            problem = f"differs from the declared columns: {listed(found)}"
            checks.hold(found == list(columns), file, f"{where}.column_list", problem, listed(columns))
            continue
        for key, name in _columns_of(rule["kwargs"]):
            problem = f"there is no column {name!r}"
            checks.hold(name in columns, file, f"{where}.{key}", problem, listed(columns))


def _columns_of(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in ("column", "column_A", "column_B"):
        if key in arguments:
            yield key, str(arguments[key])
    for key in ("column_list", "column_set"):
        for name in arguments.get(key, ()):
            yield key, str(name)


def _check_calls(
    checks: Checks, declared: Declarations, file: str, calls: tuple[tuple[str, ...], ...], models: set[str]
) -> None:
    raw = {f"{source}.{table}" for _, source, table in declared.raw}
    for kind, *names in calls:
        if kind == "source":
            checks.known(".".join(names), raw, file, "source()", "table in the project's sources:")
        elif names:
            checks.known(names[-1], models, file, "ref()", "model")


def _file(path: str) -> str:
    return f"expectations/{path}.json"
