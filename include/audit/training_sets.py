"""I8: no feature newer than the moment it is asked for, no label from the future, periods kept apart."""
# ruff: noqa: S608  # names and paths are quoted

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from include.audit.result import Checked, Violation
from include.audit.tables import Table, columns, count, literal, quoted

if TYPE_CHECKING:
    import duckdb

EVENT, MATURED, SPLIT = "event_timestamp", "matured_timestamp", "split"
TIMES = ("__event_timestamp", "__created_timestamp")
PERIODS = (("train", "validation"), ("validation", "test"), ("train", "test"))


def check_training_set(
    connection: "duckdb.DuckDBPyConnection", table: Table, document: Mapping[str, Any] | None
) -> Checked:
    """Every row of one training set against its own times.

    Args:
        connection: A database.
        table: The rows.
        document: The `training_set.json` beside them.
    """
    rows = count(connection, f"FROM {table.relation}")
    if document is None or not document.get("as_of"):
        return Checked("rows to learn from", rows, (Violation(table.path, "does not say as of when it is"),))
    found = columns(connection, table)
    faults = [f"lacks {name}" for name in (EVENT, MATURED, SPLIT) if name not in found]
    tables = document.get("tables") or sorted({item["table"] for item in document.get("features", ())})
    wanted = [f"{name}{time}" for name in tables for time in TIMES]
    faults += [f"lacks {name}, so that nobody can tell" for name in wanted if name not in found]
    if not tables:
        faults.append("names no feature table")
    if not faults:
        rules = _rules(table, str(document["as_of"]), [name for name in found if name.endswith(TIMES)])
        for what, broken in rules.items():
            number = count(connection, broken)
            if number:
                faults.append(f"{what} in {number:,} rows")
    return Checked("rows to learn from", rows, tuple(Violation(table.path, fault) for fault in faults))


def _rules(table: Table, as_of: str, times: list[str]) -> dict[str, str]:
    """SQL of the rows that break each rule, by what is wrong with them."""
    rows = f"SELECT 1 FROM {table.relation}"
    rules = {
        f"{name} is after the row's own time": f"{rows} WHERE {quoted(name)} > {EVENT}" for name in times
    }
    moment = f"TIMESTAMP {literal(as_of)}"
    rules["the label matured after the set's moment, or never,"] = (
        f"{rows} WHERE {MATURED} IS NULL OR {MATURED} > {moment}"
    )
    rules["the row is later than the set's moment"] = f"{rows} WHERE {EVENT} > {moment}"
    rules["there is no period"] = (
        f"{rows} WHERE {SPLIT} IS NULL OR {SPLIT} NOT IN ('train', 'validation', 'test')"
    )
    for earlier, later in PERIODS:
        begins = f"(SELECT min({EVENT}) FROM {table.relation} WHERE {SPLIT} = '{later}')"
        rules[f"a {earlier} label matured after the {later} period began"] = (
            f"{rows} WHERE {SPLIT} = '{earlier}' AND {MATURED} > {begins}"
        )
    return rules
