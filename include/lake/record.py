"""What a commit says about the run that made it: read and written as commit metadata (strings only)."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args

from include.spec.verdict import Finding, Verdict

PREFIX = "headrace."
SERVER_PREFIXES = (".lakefs.", "::lakefs::")  # what the server adds to a commit's metadata
KEPT_FINDINGS = 20
LONGEST_VALUE = 16_000

Kind = Literal["opened", "passed", "unchanged", "refused", "published"]


@dataclass(frozen=True)
class RunRecord:
    """One run's state, as of one commit.

    Args:
        kind: `opened` a draft was started; `passed` audited and committed on the draft; `unchanged` passed,
            with nothing to add to main; `refused` the gates said no; `published` the merge on main.
        run_id: The run.
        station: Its station or DAG.
        base: The commit of main that the draft started from.
        attempt: Which attempt of the run opened the draft.
        code_version: Git commit (`-dirty` with local changes), or the version of the package.
        suite_hash: Of the suites that were run.
        checked: How many rules were evaluated.
        findings: How many of them did not hold, warnings included.
        worst: The first of these.
        draft: `published` only: the commit that was merged.
        at: `unchanged` only: the commit of main that holds the same bytes.
        rows: `published` only: rows added per table.
        watermark: `published` only: what was reached, per source, as JSON.
    """

    kind: Kind
    run_id: str
    station: str
    base: str
    code_version: str
    attempt: str = ""
    suite_hash: str = ""
    checked: int = 0
    findings: int = 0
    worst: tuple[Finding, ...] = ()
    draft: str = ""
    at: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    watermark: str = ""

    def judged(self, kind: Kind, verdict: Verdict) -> "RunRecord":
        """The same run, with a verdict."""
        return replace(
            self,
            kind=kind,
            suite_hash=verdict.suite_hash,
            checked=verdict.checked,
            findings=len(verdict.findings),
            worst=verdict.findings[:KEPT_FINDINGS],
        )

    def unchanged(self, at: str) -> "RunRecord":
        """The same run, with nothing to add to the commit `at` of main."""
        return replace(self, kind="unchanged", at=at)

    def published(self, draft: str, rows: Mapping[str, int], watermark: str) -> "RunRecord":
        """The same run, as the merge of its last commit `draft` says it."""
        return replace(self, kind="published", draft=draft, rows=rows, watermark=watermark)

    @property
    def verdict(self) -> Verdict:
        """The verdict as far as the record keeps it: the worst findings, all the counts."""
        return Verdict(
            passed=self.kind in {"passed", "unchanged", "published"},
            suite_hash=self.suite_hash,
            checked=self.checked,
            findings=self.worst,
        )

    def to_metadata(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Commit metadata: the record under `headrace.*`, and the caller's own keys beside it.

        Raises:
            ValueError: A key of the caller begins with `headrace.`.
            TypeError: A value of the caller is no string.
        """
        own = {
            "kind": self.kind,
            "run_id": self.run_id,
            "station": self.station,
            "base": self.base,
            "attempt": self.attempt,
            "code_version": self.code_version,
            "draft": self.draft,
            "at": self.at,
            "watermark": self.watermark,
            "rows": json.dumps(dict(sorted(self.rows.items()))) if self.rows else "",
        }
        if self.suite_hash:
            own |= {
                "verdict": "passed" if self.verdict.passed else "refused",
                "suite_hash": self.suite_hash,
                "checked": str(self.checked),
                "findings": str(self.findings),
                "worst_findings": _findings_json(self.worst),
            }
        return _checked_extra(extra or {}) | {PREFIX + key: value for key, value in own.items() if value}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str] | None) -> "RunRecord | None":
        """The record in a commit's metadata; None for a commit that is not of a run of ours."""
        own = {
            key.removeprefix(PREFIX): value
            for key, value in (metadata or {}).items()
            if key.startswith(PREFIX)
        }
        kind = own.get("kind")
        if kind not in get_args(Kind) or not own.get("run_id") or not own.get("station"):
            return None
        try:
            rows = {str(table): int(count) for table, count in json.loads(own.get("rows") or "{}").items()}
            worst = tuple(Finding(**finding) for finding in json.loads(own.get("worst_findings") or "[]"))
            checked, findings = int(own.get("checked", "0")), int(own.get("findings", "0"))
        except (ValueError, TypeError, AttributeError):
            return None  # looks like ours, but somebody else wrote it
        return cls(
            kind=kind,  # type: ignore[arg-type]
            run_id=own["run_id"],
            station=own["station"],
            base=own.get("base", ""),
            attempt=own.get("attempt", ""),
            code_version=own.get("code_version", ""),
            suite_hash=own.get("suite_hash", ""),
            checked=checked,
            findings=findings,
            worst=worst,
            draft=own.get("draft", ""),
            at=own.get("at", ""),
            rows=rows,
            watermark=own.get("watermark", ""),
        )


def caller_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """What the caller of a publication added to the record."""
    foreign = (PREFIX, *SERVER_PREFIXES)
    return {key: value for key, value in (metadata or {}).items() if not key.startswith(foreign)}


@cache
def code_version() -> str:
    """The git commit of the code that runs, `-dirty` where files differ; else the package's version."""
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    try:
        return version("headrace")
    except PackageNotFoundError:
        return "unknown"


def _findings_json(findings: tuple[Finding, ...]) -> str:
    kept = list(findings)
    while kept and len(text := json.dumps([asdict(finding) for finding in kept])) > LONGEST_VALUE:
        kept.pop()
    return text if kept else ""


def _checked_extra(extra: Mapping[str, str]) -> dict[str, str]:
    for key, value in extra.items():
        if key.startswith(PREFIX):
            raise ValueError(f"metadata key {key!r}: keys that begin with {PREFIX!r} are the record's own")
        if not isinstance(value, str):
            raise TypeError(f"metadata {key!r} must be a string, got {type(value).__name__}")
    return dict(extra)
