"""What a gate saw, rule by rule: read back from the lake, or told from the verdict and the suites."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from include.lake import Lake
from include.lake.objects import Ref, list_objects, read_bytes
from include.spec.verdict import Verdict
from include.validation.gate import observed, rule_name
from include.validation.suite import EXPECTATIONS, SuiteError, load_suite, suite_hash


@dataclass(frozen=True)
class RuleResult:
    """One rule of one table.

    Args:
        table: Lake path.
        rule: In words where it has them, else its type with its columns.
        held: Whether it did.
        severity: `fail` refuses the publication, `warn` is recorded only.
        observed: What was seen instead; empty where it held.
    """

    table: str
    rule: str
    held: bool
    severity: str
    observed: str = ""


def read_evidence(lake: Lake, ref: Ref, prefix: str) -> tuple[RuleResult, ...]:
    """The results that a gate left under a folder, by table, in the order of the suites.

    Args:
        lake: Where.
        ref: The commit, or the draft, that was judged.
        prefix: Folder of the evidence.

    Raises:
        LakeError: It cannot be read.
    """
    found: list[RuleResult] = []
    for held in list_objects(lake, ref, prefix):
        document = json.loads(read_bytes(lake, ref, held.path))
        for result in document["results"]:
            rule = result["expectation_config"]
            seen = "" if result["success"] else observed(result)
            severity = "fail" if rule["severity"] == "critical" else "warn"
            found.append(
                RuleResult(document["table"], rule_name(rule), bool(result["success"]), severity, seen)
            )
    return tuple(found)


def results_of(
    verdict: Verdict, tables: Sequence[str], *, expectations: Path = EXPECTATIONS
) -> tuple[RuleResult, ...]:
    """The same, where no evidence was kept: a rule of the suites that no finding names has held.

    Told so only while the suites are those that the verdict was reached by; else the findings alone.

    Args:
        verdict: The decision.
        tables: Lake paths of the tables that were judged, in order.
        expectations: Root of the suites.
    """
    broken = {
        (finding.table, finding.rule): RuleResult(
            finding.table, finding.rule, False, finding.severity, finding.observed
        )
        for finding in verdict.findings
    }
    try:
        suites = [load_suite(table, expectations) for table in tables]
    except SuiteError:
        return tuple(broken.values())
    if suite_hash(suites) != verdict.suite_hash:
        return tuple(broken.values())
    told = {
        (suite.table, name): RuleResult(
            suite.table, name, True, "fail" if rule["severity"] == "critical" else "warn"
        )
        for suite in suites
        for rule in suite.rules
        for name in [rule_name(rule)]
    }
    return tuple((told | broken).values())
