"""Judge tables by their suites: a verdict, and the evidence for it."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from include.spec.verdict import Finding, Verdict
from include.validation.great_expectations_run import SuiteRunner
from include.validation.suite import EXPECTATIONS, Suite, load_suite, suite_hash

MEMORY_LIMIT = "1GB"
THREADS = 2
OBSERVED_LENGTH = 300
# A full refresh that loses more of a table than a tenth is rather a broken extract than a change.
KEPT_SHARE = 0.9

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evidence:
    """What the gate saw of one table.

    Args:
        table: Lake path.
        document: Suite hash and every rule's result, in Great Expectations' own form.
    """

    table: str
    document: Mapping[str, Any]


def judge(
    files: Mapping[str, Sequence[Path]],
    rows_before: Mapping[str, int],
    scratch: Path,
    *,
    expectations: Path = EXPECTATIONS,
) -> tuple[Verdict, tuple[Evidence, ...]]:
    """Judge tables that are published together; rules may refer to the others by name.

    Memory is bounded: DuckDB spills to `scratch` beyond its limit.

    Args:
        files: Parquet files of each table, by lake path.
        rows_before: Rows of each table as published now, by lake path; absent for a new table. Rules see
            nine tenths of it, and at least 1, as the parameter `rows_at_least`.
        scratch: A folder for what does not fit in memory.
        expectations: Root of the suites.

    Raises:
        SuiteError: A table has no suite, or it cannot be read.
    """
    assert files, "there is nothing to judge"
    suites = [load_suite(table, expectations) for table in files]
    findings: list[Finding] = []
    evidence: list[Evidence] = []
    checked = 0
    with _views(files, scratch) as connection:
        runner = SuiteRunner(connection)
        for suite in suites:
            started = time.monotonic()
            if not files[suite.table]:
                findings.append(Finding(suite.table, "table has files", "no Parquet file under its path"))
                continue
            at_least = max(1, math.ceil(KEPT_SHARE * rows_before.get(suite.table, 0)))
            results = runner.run(suite, _name(suite.table), {"rows_at_least": at_least})
            broken = [
                _finding(suite.table, rule, result)
                for rule, result in zip(suite.rules, results, strict=True)
                if not result["success"]
            ]
            checked += len(results)
            findings += broken
            evidence.append(Evidence(suite.table, _document(suite, results, runner.version)))
            _report(suite, broken, time.monotonic() - started)
    findings.sort(key=lambda finding: finding.severity == "warn")
    passed = checked > 0 and not any(finding.severity == "fail" for finding in findings)
    return Verdict(passed, suite_hash(suites), checked, tuple(findings)), tuple(evidence)


@contextmanager
def _views(files: Mapping[str, Sequence[Path]], scratch: Path) -> Iterator[Any]:
    """A DuckDB connection with a view per table, named as the table."""
    import duckdb

    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix="gate-") as spill:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY_LIMIT,
            "threads": THREADS,
            "temp_directory": spill,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
        }
        with duckdb.connect(config=settings) as connection:
            for table, parts in files.items():
                if parts:
                    relation = connection.read_parquet([str(part) for part in parts])
                    relation.create_view(_name(table))
            yield connection


def _name(table: str) -> str:
    return table.rpartition("/")[2]


def _finding(table: str, rule: Mapping[str, Any], result: Mapping[str, Any]) -> Finding:
    severity = "fail" if rule["severity"] == "critical" else "warn"
    return Finding(table, rule_name(rule), observed(result)[:OBSERVED_LENGTH], severity)  # type: ignore[arg-type]


def rule_name(rule: Mapping[str, Any]) -> str:
    """The rule in words where it has them, else its type with the columns it is about."""
    if rule.get("description"):
        return str(rule["description"])
    kwargs = rule["kwargs"]
    columns = kwargs.get("column_list") or [
        kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs
    ]
    return f"{rule['type']}({', '.join(columns)})"


def observed(result: Mapping[str, Any]) -> str:
    """What was seen instead, in one line."""
    raised = (result.get("exception_info") or {}).get("exception_message")
    if raised is None and result.get("exception_info"):
        nested = [info for info in result["exception_info"].values() if isinstance(info, dict)]
        raised = next((info["exception_message"] for info in nested if info.get("exception_message")), None)
    if raised:
        return f"could not be checked: {str(raised).strip().splitlines()[0]}"
    seen = result.get("result") or {}
    if "unexpected_count" in seen:
        sample = ", ".join(str(value) for value in seen.get("partial_unexpected_list", []))
        return f"{seen['unexpected_count']:,} of {seen.get('element_count', 0):,} rows: {sample}"
    if "observed_value" in seen:
        return f"{seen['observed_value']}"
    return "not so"


def _document(suite: Suite, results: Sequence[Mapping[str, Any]], version: str) -> dict[str, Any]:
    return {
        "table": suite.table,
        "suite_sha256": suite.sha256,
        "great_expectations": version,
        "success": all(result["success"] for result in results),
        "results": list(results),
    }


def _report(suite: Suite, broken: Sequence[Finding], seconds: float) -> None:
    failed = sum(finding.severity == "fail" for finding in broken)
    warned = len(broken) - failed
    logger.info(
        "%s: %s rules, %s failed, %s warned, %.1f s", suite.table, len(suite.rules), failed, warned, seconds
    )
    for finding in broken:
        logger.warning("%s: %s: %s: %s", finding.severity, finding.table, finding.rule, finding.observed)
