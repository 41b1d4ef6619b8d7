"""A run's draft: its own branch, opened, written, and committed or refused by the verdict of the gates.

Opening makes an empty commit that names the run: a branch of lakeFS itself knows neither who made it nor
when, and whoever collects orphans must know both. None of a draft's own commits reaches main: the merge
squashes them into one.
"""

from collections.abc import Mapping
from uuid import uuid4

from include.lake.connection import MODELS, Lake
from include.lake.errors import DraftGone, GateNotPassed, NotFound, ServerRefused
from include.lake.names import draft_branch, refused_branch
from include.lake.paths import prefix_path
from include.lake.record import RunRecord, code_version
from include.lake.replies import says_no_changes
from include.lake.runs import (
    DraftHead,
    commit_record,
    create_branch,
    delete_branch,
    draft_head,
    draft_ref,
    find_published,
    needed_head,
)
from include.spec.refs import CommitRef, DraftRef, Refused
from include.spec.verdict import Verdict


def open_draft(lake: Lake, run_id: str, station: str, *, restart: bool = False) -> DraftRef:
    """The run's own branch of main, made if it is not there; the same run always gets the same branch.

    A draft that was refused is put aside under another name, where `refused` still lists it, and the run
    starts anew.

    Args:
        lake: Where.
        run_id: The run, as the orchestrator names it; unique within the station.
        station: The station or DAG that the run id belongs to.
        restart: Throw away what an earlier attempt of the run left on the branch, and start from main again.

    Raises:
        LakeError: The lake could not be asked.
        ValueError: The run id or the station is empty.
    """
    branch = draft_branch(station, run_id)
    head = draft_head(lake, branch)
    if head is not None and _is_over(lake, head, restart=restart):
        delete_branch(lake, branch)
        head = None
    if head is None:
        create_branch(lake, branch, lake.head().commit)
        head = draft_head(lake, branch) or _open(lake, branch, run_id, station)
    return draft_ref(lake, head)


def discard(lake: Lake, draft: DraftRef, prefix: str = "") -> None:
    """Drop what was written on the draft under a folder and is not committed yet; nothing there is fine.

    A writing task calls it first, so that a retry leaves no file of the attempt that died.

    Raises:
        DraftGone: There is no such draft.
        BadPath: The prefix is no path of the lake.
    """
    folder = prefix_path(prefix)
    reset = (
        MODELS.ResetCreation(type="common_prefix", path=folder + "/")
        if folder
        else MODELS.ResetCreation(type="reset")
    )
    try:
        lake.call(lambda: lake.api.branches_api.reset_branch(lake.repository, draft.branch, reset))
    except NotFound:
        needed_head(lake, draft)  # else nothing was staged there


def commit_draft(
    lake: Lake,
    draft: DraftRef,
    message: str,
    metadata: Mapping[str, str] | None,
    verdict: Verdict,
) -> CommitRef:
    """Commit what the gates passed, on the draft's branch; again returns the same commit.

    Args:
        lake: Where.
        draft: What `open_draft` returned.
        message: One line for the log of main.
        metadata: The caller's own keys; the run, the suite hash, the verdict and the code version are added.
        verdict: What the gates decided.

    Raises:
        GateNotPassed: The verdict did not pass; `refuse` is the step for that.
        DraftGone: There is no such draft, or it was refused.
        ValueError: A metadata key begins with `headrace.`.
    """
    if not verdict.passed:
        raise GateNotPassed(
            f"a draft cannot be committed: {len(verdict.findings)} findings over {verdict.checked} rules",
            remedy="Call refuse(lake, draft, verdict): main stays as it is, and the draft can be inspected.",
            run=draft.run_id,
            station=draft.station,
        )
    head = needed_head(lake, draft)
    if head.record.kind == "refused":
        raise DraftGone(
            "the draft was refused", remedy="open_draft starts a new attempt.", branch=draft.branch
        )
    passed = head.record.judged("passed", verdict)
    try:
        commit = commit_record(
            lake, draft.branch, passed, message, metadata, after=head.commit, allow_empty=False
        )
    except ServerRefused as error:
        if not says_no_changes(error):
            raise
        commit = _commit_nothing(lake, draft, passed, message, metadata)
    return CommitRef(lake.repository, commit)


def _commit_nothing(
    lake: Lake,
    draft: DraftRef,
    passed: RunRecord,
    message: str,
    extra: Mapping[str, str] | None,
) -> str:
    """The last commit of a draft with nothing staged: it was committed before, or adds nothing to main."""
    head = needed_head(lake, draft)
    if head.record.kind != "opened":
        return head.commit
    base = head.record.base
    diff = lake.api.refs_api.diff_refs
    if next(lake.pages(diff, base, head.commit, type="two_dot"), None) is None:
        passed = passed.unchanged(base)
    # else two attempts opened the draft at once, and one of them committed what the other had staged
    return commit_record(lake, draft.branch, passed, message, extra, after=head.commit)


def refuse(lake: Lake, draft: DraftRef, verdict: Verdict) -> Refused:
    """Keep the draft apart for inspection, with the verdict in its last commit; again returns the same.

    Raises:
        ValueError: The verdict passed.
        DraftGone: There is no such draft.
    """
    if verdict.passed:
        raise ValueError("refuse was called with a verdict that passed")
    head = needed_head(lake, draft)
    if head.record.kind != "refused":
        record = head.record.judged("refused", verdict)
        message = f"Refuse: {len(verdict.findings)} findings over {verdict.checked} rules"
        commit_record(lake, draft.branch, record, message, after=head.commit)
        head = needed_head(lake, draft)
    return refusal(lake, draft.branch, head)


def refusal(lake: Lake, branch: str, head: DraftHead) -> Refused:
    """A refused draft, from the last commit of the branch that keeps it."""
    return Refused(
        run_id=head.record.run_id,
        station=head.record.station,
        branch=branch,
        commit=CommitRef(lake.repository, head.commit),
        verdict=head.record.verdict,
        refused_at_s=head.created_s,
    )


def _is_over(lake: Lake, head: DraftHead, *, restart: bool) -> bool:
    """Whether the branch must go before the run can start: done, refused (kept elsewhere), or to restart."""
    record = head.record
    if record.kind == "refused":
        create_branch(lake, refused_branch(record.station, record.run_id, head.commit), head.commit)
        return True
    # A draft that was merged by an attempt that then died: settle it, or restarting would publish it twice.
    return find_published(lake, record.run_id, record.station) is not None or restart


def _open(lake: Lake, branch: str, run_id: str, station: str) -> DraftHead:
    base = lake.head(branch).commit  # not main's: that may have moved since the branch was made
    record = RunRecord(
        kind="opened",
        run_id=run_id,
        station=station,
        base=base,
        attempt=uuid4().hex,
        code_version=code_version(),
    )
    commit_record(lake, branch, record, f"Open the draft of run {run_id}", after=base)
    head = draft_head(lake, branch)
    if head is None:
        raise DraftGone(
            "the draft was deleted while it was opened",
            remedy="Another attempt of the same run is at work.",
            branch=branch,
            run=run_id,
        )
    return head
