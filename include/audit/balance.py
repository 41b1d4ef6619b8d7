"""I1+: rows in are rows published and rows put apart, as each commit tells it and as main holds them."""
# ruff: noqa: S608  # names and paths are quoted

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from include.audit.lake_reader import Commit
from include.audit.result import Checked, Violation
from include.audit.tables import Table, columns

if TYPE_CHECKING:
    import duckdb

BALANCE = "balance"
# A statement about a change log is about what the commit added to it; the others are about all of a table.
LOG, FIRST = "/changes", "first"
FIELDS = ("in", "published", "quarantined")

Statement = Mapping[str, Mapping[str, int]]


def check_statements(chain: Sequence[Commit]) -> Checked:
    """What each commit of main tells of its tables adds up.

    Args:
        chain: The commits of main, the latest first.
    """
    violations: list[Violation] = []
    count = 0
    for commit in chain:
        told = _statement(commit)
        if told is None:
            violations.append(Violation(commit["id"], f"has a {BALANCE} that cannot be read"))
            continue
        count += len(told)
        violations += [
            Violation(
                f"{commit['id']}#{table}",
                f"tells of {rows['in']:,} rows in, {rows['published']:,} published and "
                f"{rows['quarantined']:,} in quarantine",
            )
            for table, rows in sorted(told.items())
            if rows["in"] != rows["published"] + rows["quarantined"]
        ]
    return Checked("statements of commits", count, tuple(violations))


def check_held(chain: Sequence[Commit], held: Mapping[str, int], apart: Mapping[str, int]) -> Checked:
    """What the last commit to tell of a table says is what main holds.

    Args:
        chain: The commits of main, the latest first.
        held: Rows of each table as they were counted.
        apart: Rows in quarantine of each table, as they were counted.
    """
    newest: dict[str, Mapping[str, int]] = {}
    for commit in reversed(chain):
        of_tables = (_statement(commit) or {}).items()
        newest.update({table: rows for table, rows in of_tables if not table.endswith(LOG)})
    violations = [
        Violation(table, f"{apart[table]:,} rows are in quarantine, of which no commit tells")
        for table in sorted(set(apart) - set(newest))
    ]
    for table, told in sorted(newest.items()):
        for what, counted in (("published", held.get(table, 0)), ("quarantined", apart.get(table, 0))):
            if told[what] != counted:
                violations.append(
                    Violation(table, f"{told[what]:,} rows were {what}, main holds {counted:,} of them")
                )
    return Checked("tables as they were told of", len(newest), tuple(violations))


def check_logs(chain: Sequence[Commit], held: Mapping[str, int], apart: Mapping[str, int]) -> Checked:
    """What the commits tell of a change log, summed from where it begins, is what main holds of it.

    Of a log whose begin tells of nothing, which an earlier version wrote, nothing is said.

    Args:
        chain: The commits of main, the latest first.
        held: Changes of each log that are published, as they were counted.
        apart: Changes of each log that are put apart, as they were counted.
    """
    sums: dict[str, dict[str, int]] = {}
    for commit in reversed(chain):
        for table, rows in (_statement(commit) or {}).items():
            if not table.endswith(LOG):
                continue
            if rows.get(FIRST):
                sums[table] = dict.fromkeys(FIELDS, 0)
            if table in sums:
                sums[table] = {field: sums[table][field] + rows[field] for field in FIELDS}
    violations = [
        Violation(table, f"{told[what]:,} changes were {what}, main holds {there:,} of them")
        for table, told in sorted(sums.items())
        for what, there in (("published", held.get(table, 0)), ("quarantined", apart.get(table, 0)))
        if told[what] != there
    ]
    return Checked("change logs as they were told of", len(sums), tuple(violations))


def rows_by_origin(connection: "duckdb.DuckDBPyConnection", table: Table) -> dict[str, int]:
    """Rows of a quarantine by the file that they came from, as far as they say it."""
    if "origin" not in columns(connection, table):
        return {}
    counted = connection.execute(f"SELECT origin, count(*) FROM {table.relation} GROUP BY origin").fetchall()
    return {str(origin): int(number) for origin, number in counted}


def _statement(commit: Commit) -> Statement | None:
    """Rows by table; empty where the commit tells of none, None where it cannot be read."""
    text = (commit.get("metadata") or {}).get(BALANCE)
    if not text:
        return {}
    try:
        told = json.loads(text)
        return {
            table: {field: int(rows[field]) for field in FIELDS} | {FIRST: int(rows.get(FIRST, 0))}
            for table, rows in told.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
