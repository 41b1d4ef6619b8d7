"""Suites of expectations as files, `expectations/<lake path>.json`, in Great Expectations' own form."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.spec.errors import HeadraceError

EXPECTATIONS = Path(__file__).parents[2] / "expectations"
SEVERITIES = ("critical", "warning", "info")


class SuiteError(HeadraceError):
    """A suite is not there, or is not one."""


@dataclass(frozen=True)
class Suite:
    """What must be true of one table.

    Args:
        table: Lake path of the table.
        rules: Its expectations, as Great Expectations reads them.
        sha256: Over the rules in canonical form: order of keys and white space do not count.
    """

    table: str
    rules: tuple[Mapping[str, Any], ...]
    sha256: str


def load_suite(table: str, folder: Path = EXPECTATIONS) -> Suite:
    """The suite of a table.

    Args:
        table: Lake path, such as `raw/retail/transactions`.
        folder: Root of the suites.

    Raises:
        SuiteError: The file is missing, is no JSON, holds no rule, or a rule lacks what every rule has.
    """
    path = folder / f"{table}.json"
    if not path.is_file():
        raise SuiteError(
            f"Table {table} has no suite: {_shown(table)} is missing.",
            remedy="Write its expectations; a table without any is not published.",
            table=table,
        )
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise SuiteError(f"{_shown(table)}: is not JSON: {error}.", table=table) from error
    rules = document.get("expectations") if isinstance(document, dict) else None
    if not isinstance(rules, list) or not rules:
        raise SuiteError(
            f"{_shown(table)}: field 'expectations': must be a list of at least one rule.", table=table
        )
    for number, rule in enumerate(rules):
        _check(table, number, rule)
    return Suite(table, tuple(rules), hashlib.sha256(_canonical(rules).encode()).hexdigest())


def suite_hash(suites: Iterable[Suite]) -> str:
    """SHA-256 over several suites, in whatever order they come."""
    lines = sorted(f"{suite.table} {suite.sha256}" for suite in suites)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _check(table: str, number: int, rule: Any) -> None:
    where = f"{_shown(table)}: expectations[{number}]"
    if not isinstance(rule, dict) or not isinstance(rule.get("type"), str):
        raise SuiteError(f"{where}: field 'type': must name an expectation.", table=table)
    if not isinstance(rule.get("kwargs"), dict):
        raise SuiteError(f"{where} ({rule['type']}): field 'kwargs': must be an object.", table=table)
    if rule.get("severity") not in SEVERITIES:
        accepted = ", ".join(SEVERITIES)
        raise SuiteError(
            f"{where} ({rule['type']}): field 'severity': {rule.get('severity')!r}; accepted: {accepted}.",
            table=table,
        )


def _canonical(rules: list[Mapping[str, Any]]) -> str:
    return json.dumps(rules, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _shown(table: str) -> str:
    return f"expectations/{table}.json"
