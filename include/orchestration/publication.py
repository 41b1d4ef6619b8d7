"""The last steps of every flow that publishes: judge the draft, then put it on main or keep it apart."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from include.orchestration.dry_run import is_dry_run
from include.settings import settings
from include.spec.errors import HeadraceError
from include.spec.refs import DraftRef, Judged, Published, Refused

if TYPE_CHECKING:
    from include.lake import Lake

PUBLISH, REFUSE = "publish", "refuse"


def attempt_of(run_id: str) -> str:
    """The name by which the lake knows what the task's run is about to write.

    A run publishes once. One that a person clears, or a backfill reprocesses, publishes what it finds then,
    so it has another name each time; a task that is merely tried again has the same.
    """
    return _attempt(run_id, get_current_context()["dag_run"].clear_number or 0)


def judge(draft: DraftRef, folders: Mapping[str, str], evidence: str | None) -> Judged:
    """Judge tables as the draft holds them; pushes `judged`, and as `scope` what the evidence is about.

    Args:
        draft: What the flow wrote.
        folders: Folder of the Parquet files of each table, both as lake paths.
        evidence: Folder of the lake that keeps the results; None keeps none.

    Raises:
        AirflowFailException: A suite is missing or broken, which no retry can mend.
    """
    from include.ingestion.batch import peak_memory_bytes
    from include.lake import Lake
    from include.validation.draft import judge_draft
    from include.validation.suite import SuiteError

    started = time.monotonic()
    lake = Lake.connect(settings())
    try:
        verdict = judge_draft(lake, settings(), draft, folders, evidence_prefix=evidence)
    except SuiteError as error:
        raise AirflowFailException(str(error)) from error
    judged = Judged(verdict, time.monotonic() - started, peak_memory_bytes())
    push("judged", judged)
    push("scope", {"tables": list(folders), "evidence": evidence})
    return judged


def next_step(judged: Judged, params: Mapping[str, Any] | None) -> str | None:
    """The task that follows a gate: none in a dry run."""
    if is_dry_run(params):
        return None
    return PUBLISH if judged.verdict.passed else REFUSE


def publish(
    draft: DraftRef,
    judged: Judged,
    message: str,
    metadata: Mapping[str, str],
    *,
    stage: Callable[["Lake"], object] | None = None,
) -> Published:
    """Put the draft and its verdict on main in one commit; again returns the same; pushes `published`.

    Args:
        draft: What the flow wrote.
        judged: The verdict on it.
        message: For the log of main.
        metadata: The flow's own keys of the commit.
        stage: Writes what belongs to the commit and to no table, such as a watermark; not called again.
    """
    from include.lake import Lake, commit_draft, find_published, merge_draft

    lake = Lake.connect(settings())
    if find_published(lake, draft.run_id, draft.station) is None:
        if stage is not None:
            stage(lake)
        commit_draft(lake, draft, message, metadata, judged.verdict)
    # Also where it is published already: a try that died after its merge has left the branch.
    published = merge_draft(lake, draft)
    if not published.changed:
        published = _by_an_earlier_attempt(lake, draft) or published
    push("published", published)
    return published


def refuse(draft: DraftRef, judged: Judged) -> None:
    """Keep what did not pass on its branch, with the verdict; pushes `refused`.

    Raises:
        AirflowFailException: Always: whoever answers for the data must know, and no retry mends it.
    """
    from include.lake import Lake
    from include.lake import refuse as keep_apart

    refused = keep_apart(Lake.connect(settings()), draft, judged.verdict)
    push("refused", refused)
    raise AirflowFailException(str(_refusal(refused)))


def _by_an_earlier_attempt(lake: "Lake", draft: DraftRef) -> Published | None:
    """What the same run published before it was cleared, if anything: it may have died before it said so."""
    from include.lake import find_published

    run = get_current_context()["dag_run"]
    for number in reversed(range(run.clear_number or 0)):
        found = find_published(lake, _attempt(run.run_id, number), draft.station)
        if found is not None and found.changed:
            return found
    return None


def _attempt(run_id: str, cleared: int) -> str:
    return f"{run_id}.{cleared}" if cleared else run_id


def push(key: str, value: object) -> None:
    """Hand a reference on beside the task's return value."""
    get_current_context()["ti"].xcom_push(key, value)


def _refusal(refused: Refused) -> HeadraceError:
    verdict = refused.verdict
    broken = [finding for finding in verdict.findings if finding.severity == "fail"]
    worst = "; ".join(f"{finding.table}: {finding.rule}: {finding.observed}" for finding in broken)
    return HeadraceError(
        f"Refused: {len(broken)} of {verdict.checked} rules are broken: {worst}.",
        remedy="Main is as it was. Look at the branch, correct the source, and run again.",
        branch=refused.branch,
    )
