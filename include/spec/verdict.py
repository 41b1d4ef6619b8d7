"""The outcome of a gate: a result that is recorded, never an exception."""

from dataclasses import dataclass
from typing import Literal

from include.spec.restored import Restored


@dataclass(frozen=True)
class Finding:
    """One rule that did not hold.

    Args:
        table: Lake path of the table, such as `raw/retail/transactions`.
        rule: Name of the expectation, with its column where it has one.
        observed: What was seen instead, short enough for a log line.
        severity: `fail` refuses the publication, `warn` is recorded only.
    """

    table: str
    rule: str
    observed: str
    severity: Literal["fail", "warn"] = "fail"


@dataclass(frozen=True)
class Verdict(Restored):
    """What a gate decided, and by which rules.

    Args:
        passed: Whether the publication may proceed.
        suite_hash: SHA-256 over the suites that were run, in canonical form.
        checked: How many rules were evaluated; a verdict over nothing never passes.
        findings: The rules that did not hold, worst first.
    """

    passed: bool
    suite_hash: str
    checked: int
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        assert not (self.passed and self.checked == 0), "a verdict that checked nothing cannot pass"
        assert not (self.passed and any(f.severity == "fail" for f in self.findings))
