"""What the demo's report says of the lake: its tables, and how main came to be."""

from collections.abc import Mapping, Sequence

from include.demo.report.lines import QUARANTINE, CommitLine, TableLine
from include.lake import Lake
from include.lake.history import LogEntry, log
from include.lake.tables import list_tables
from include.spec.verdict import Finding
from include.validation.suite import EXPECTATIONS, load_suite

COMMITS = 200
FLOW = ("raw", QUARANTINE, "features", "training_sets", "predictions")
# Of the pages that Airflow serves for us.
COMMIT_PAGE = "/headrace/commits"


def history(lake: Lake) -> list[LogEntry]:
    """The newest commits of main, the newest first."""
    return list(log(lake, limit=COMMITS))


def table_lines(lake: Lake, warned: Sequence[Finding]) -> tuple[TableLine, ...]:
    """The tables on main, in the order of the flow."""
    found = list_tables(lake, lake.head())
    return tuple(
        TableLine(
            table=table.table,
            rows=table.rows,
            files=table.files,
            size_bytes=table.size_bytes,
            rules=_rules(table.table),
            warnings=sum(finding.table == table.table for finding in warned),
        )
        for table in sorted(found, key=lambda table: (_place(table.table), table.table))
    )


def commit_lines(entries: Sequence[LogEntry], airflow_url: str) -> tuple[CommitLine, ...]:
    """The commits, the newest first, with the addresses of their pages."""
    return tuple(_commit_line(entry, f"{airflow_url}{COMMIT_PAGE}") for entry in entries)


def warnings(entries: Sequence[LogEntry]) -> tuple[Finding, ...]:
    """Rules that did not hold when each flow last published, and do not refuse."""
    newest: Mapping[str, tuple[Finding, ...]] = {
        entry.record.station: entry.record.worst for entry in reversed(entries) if entry.record is not None
    }
    return tuple(finding for findings in newest.values() for finding in findings)


def _commit_line(entry: LogEntry, pages: str) -> CommitLine:
    commit, record = entry.commit.commit, entry.record
    verdict = ""
    if record is not None and record.suite_hash:
        verdict = f"{'passed' if record.verdict.passed else 'refused'}, {record.checked} rules"
    return CommitLine(
        commit=commit,
        at=float(entry.created_s),
        station=record.station if record else "",
        run_id=record.run_id if record else "",
        verdict=verdict,
        suite_hash=record.suite_hash if record else "",
        message=entry.message,
        rows=sum(record.rows.values()) if record else 0,
        url=f"{pages}/{commit}",
    )


def _place(table: str) -> int:
    """Where in the flow a table is made."""
    folder = table.partition("/")[0]
    return FLOW.index(folder) if folder in FLOW else len(FLOW)


def _rules(table: str) -> int:
    return len(load_suite(table).rules) if (EXPECTATIONS / f"{table}.json").is_file() else 0
