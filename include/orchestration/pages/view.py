"""What the pages show, read from the state folder, the lake and the registry's address."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.orchestration.pages.handed_on import HandedOn
from include.settings import settings
from include.spec.refs import CommitRef, DraftRef
from include.spec.verdict import Verdict

if TYPE_CHECKING:
    from include.lake import Lake
    from include.validation.evidence import RuleResult

DBT_DOCS, REPORTS = "dbt_docs", "reports"
SHOWN_CHANGES = 200


@dataclass(frozen=True)
class Gate:
    """What the gate of a run decided, and on what grounds.

    Args:
        verdict: The decision.
        rules: Rule by rule; tables and rules of which something did not hold come first.
        origin: Where the results were read.
    """

    verdict: Verdict
    rules: "tuple[RuleResult, ...]"
    origin: str

    @property
    def tables(self) -> dict[str, "list[RuleResult]"]:
        """The rules by table."""
        grouped: dict[str, list[RuleResult]] = {}
        for rule in self.rules:
            grouped.setdefault(rule.table, []).append(rule)
        return grouped


@dataclass(frozen=True)
class Commit:
    """A commit of the lake, with what it changed.

    Args:
        commit: Which.
        created: When, UTC.
        committer: Who, as the server knows them.
        message: What for.
        metadata: What its maker recorded, the run included.
        changes: Kind and path of each change against its parent.
        more: Whether there are more changes than are told.
    """

    commit: str
    parents: tuple[str, ...]
    created: datetime
    committer: str
    message: str
    metadata: tuple[tuple[str, str], ...]
    changes: tuple[tuple[str, str], ...]
    more: bool


def gate_of(handed_on: HandedOn) -> Gate | None:
    """The gate's results: from the evidence in the lake where there is some, else from the verdict.

    Raises:
        LakeError: The lake cannot be read.
    """
    from include.validation.evidence import read_evidence, results_of

    verdict = handed_on.verdict
    if verdict is None:
        return None
    scope = handed_on.get("gate", "scope") or {}
    if scope.get("evidence"):
        lake = _lake()
        at = _judged_ref(handed_on)
        rules = read_evidence(lake, at, scope["evidence"]) if at is not None else ()
        if rules:
            name = at.branch if isinstance(at, DraftRef) else f"commit {at.commit[:12]}" if at else ""
            return Gate(verdict, _broken_first(rules), f"{scope['evidence']} of {name}")
    rules = results_of(verdict, scope.get("tables", []))
    whole = len(rules) >= verdict.checked
    origin = "the verdict and its suites" if whole else "the verdict, which names only what did not hold"
    return Gate(verdict, _broken_first(rules), origin)


def commit_of(ref: str) -> Commit:
    """A commit with its changes.

    Raises:
        UnknownRef: There is none.
        LakeError: The lake cannot be read.
    """
    lake = _lake()
    found = lake.commit(ref)
    changes: list[tuple[str, str]] = []
    if found.parents:
        pages = lake.pages(lake.api.refs_api.diff_refs, found.parents[0], found.id)
        for change in pages:
            if len(changes) > SHOWN_CHANGES:
                break
            changes.append((change.type, change.path))
    return Commit(
        commit=found.id,
        parents=tuple(found.parents),
        created=datetime.fromtimestamp(found.creation_date, UTC),
        committer=found.committer,
        message=found.message,
        metadata=tuple(sorted((found.metadata or {}).items())),
        changes=tuple(changes[:SHOWN_CHANGES]),
        more=len(changes) > SHOWN_CHANGES,
    )


def registry_address(run_id: str) -> str:
    """The registry's page about one of its runs."""
    return f"{settings().mlflow_tracking_uri.rstrip('/')}/#/runs/{run_id}"


def reports() -> list[Path]:
    """The reports of the state folder, the newest first."""
    folder = settings().home / REPORTS
    found = [path for path in folder.glob("*.html") if path.is_file()] if folder.is_dir() else []
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def page_file(folder: str, name: str) -> Path | None:
    """A file that lies directly in a folder of the state folder; None where there is none.

    Neither a link nor a name with steps leads out of the folder.
    """
    root = (settings().home / folder).resolve()
    path = (root / name).resolve()
    return path if path.parent == root and path.is_file() and path.suffix in (".html", ".json") else None


def model_results(dag_id: str, run_id: str) -> Any:
    """What each model and test of a build came to; None where the run built nothing."""
    from include.features.results import read_results

    return read_results(settings().home, dag_id, run_id)


def _judged_ref(handed_on: HandedOn) -> CommitRef | DraftRef | None:
    """Where what was judged is now: on main, on the branch of the refused, or still on the draft."""
    for task, key in (("publish", "published"), ("refuse", "refused")):
        value = handed_on.get(task, key)
        if value:
            return CommitRef(**value["commit"])
    for task in ("open_draft", "build", "score"):
        value = handed_on.get(task)
        if value:
            return DraftRef(**value)
    return None


def _broken_first(rules: "tuple[RuleResult, ...]") -> "tuple[RuleResult, ...]":
    worst: dict[str, int] = {}
    for rule in rules:
        worst[rule.table] = min(worst.get(rule.table, 2), _rank(rule))
    return tuple(sorted(rules, key=lambda rule: (worst[rule.table], rule.table, _rank(rule))))


def _rank(rule: "RuleResult") -> int:
    if rule.held:
        return 2
    return 0 if rule.severity == "fail" else 1


def _lake() -> "Lake":
    from include.lake import Lake
    from include.lake.patience import Patience

    # A page is asked for again by hand: better an error soon than a browser that waits.
    return Lake.connect(settings(), patience=Patience(deadline_s=10.0, read_timeout_s=10.0))
