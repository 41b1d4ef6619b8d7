"""Write-audit-publish: the one way anything reaches main.

As separate tasks: `open_draft`, then `upload` and `write_watermark`, an audit of `checkout(lake, draft)`, and
`commit_draft` and `merge_draft`, or `refuse`. As one call: `publish`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lakefs_sdk.exceptions import ApiException

from include.lake.connection import MAIN, MODELS, Lake
from include.lake.drafts import commit_draft, open_draft, refuse
from include.lake.errors import DraftGone, MergeConflict, ServerRefused
from include.lake.names import draft_branch
from include.lake.patience import TransientAnswer
from include.lake.record import caller_metadata
from include.lake.replies import says_no_changes, server_message
from include.lake.runs import (
    DraftHead,
    commit_record,
    delete_branch,
    draft_head,
    draft_ref,
    find_published,
    finish,
    merged,
    needed_head,
)
from include.lake.summary import summarise
from include.spec.refs import DraftRef, Published, Refused
from include.spec.verdict import Verdict

LISTED_PATHS = 5


def publish(
    lake: Lake,
    run_id: str,
    station: str,
    write: Callable[[DraftRef], object],
    audit: Callable[[DraftRef], Verdict],
    message: str,
    metadata: Mapping[str, str] | None = None,
) -> Published | Refused:
    """Write on a branch of main, audit it, and merge it only if the verdict passed.

    Safe to call again after any interruption: a run publishes once. Where it died before its draft was
    committed it starts clean; after that it goes on; after success it returns the same and does nothing.

    Args:
        lake: Where.
        run_id: The run, as the orchestrator names it; unique within the station.
        station: The station or DAG that the run id belongs to.
        write: Stages files on the draft it is given.
        audit: Judges the draft, staged files included.
        message: One line for the log of main.
        metadata: The caller's own keys for the commit.

    Raises:
        MergeConflict: Main changed the same paths meanwhile.
        LakeError: The lake could not be asked; main is untouched, or the run is published.
    """
    done = find_published(lake, run_id, station)
    if done is not None:
        delete_branch(lake, draft_branch(station, run_id))  # that of an attempt which died before it did
        return done
    head = draft_head(lake, draft_branch(station, run_id))
    if head is not None and head.record.kind in {"passed", "unchanged"}:
        draft = draft_ref(lake, head)
    else:
        draft = open_draft(lake, run_id, station, restart=True)
        write(draft)
        verdict = audit(draft)
        if not verdict.passed:
            return refuse(lake, draft, verdict)
        commit_draft(lake, draft, message, metadata, verdict)
    return merge_draft(lake, draft)


def merge_draft(lake: Lake, draft: DraftRef, message: str = "") -> Published:
    """Put a committed draft on main, atomically, as one commit, and delete its branch.

    Again returns the same. Main may have moved since the draft was opened: other paths are kept.

    Args:
        lake: Where.
        draft: What `open_draft` returned.
        message: For the log of main; by default that of the draft's commit.

    Raises:
        MergeConflict: Main changed the same paths meanwhile; the draft stays as it is.
        DraftGone: There is no such draft, or its gates have not passed.
        HookRefused: A pre-merge hook of the server said no.
    """
    done = find_published(lake, draft.run_id, draft.station)
    if done is not None:
        delete_branch(lake, draft.branch)
        return done
    head = needed_head(lake, draft)
    if head.record.kind not in {"passed", "unchanged"}:
        raise DraftGone(
            f"the draft cannot be merged: it is {head.record.kind}",
            remedy="Commit it with a verdict that passed (commit_draft) first.",
            branch=draft.branch,
        )
    if head.record.kind == "unchanged":
        return finish(lake, head.record, head.commit)
    return finish(lake, head.record, _merge(lake, draft, head, message or head.message))


def conflicts(lake: Lake, draft: DraftRef) -> tuple[str, ...]:
    """The paths that both the draft and main changed since the draft was opened, sorted."""
    diff = lake.api.refs_api.diff_refs
    changes = lake.pages(diff, MAIN, draft.branch, type="three_dot")
    return tuple(sorted(change.path for change in changes if change.type == "conflict"))


def _merge(lake: Lake, draft: DraftRef, head: DraftHead, message: str) -> str:
    """Merge once, whatever happens to the answers; the commit that ends the run."""
    extra = caller_metadata(head.metadata)
    merge = None if _adds_nothing(lake, head) else _merge_of(lake, head, message, extra)

    def arrived() -> str | None:
        return merged(lake, head)

    def one_merge() -> str:
        try:
            # By commit, not by branch: what was audited, even if the branch moved since.
            result = lake.api.refs_api.merge_into_branch(lake.repository, head.commit, MAIN, merge=merge)
        except ApiException as error:
            if error.status == 409:
                _raise_conflict(lake, draft, error)
            raise
        return str(result.reference)

    try:
        if merge is not None:
            return lake.call(one_merge, check=arrived)
    except ServerRefused as error:
        if not says_no_changes(error):
            raise
    # Another attempt of this run merged it a moment ago, or another run published the same bytes.
    done = arrived()
    if done is not None:
        return done
    same = head.record.unchanged(lake.head().commit)
    return commit_record(lake, draft.branch, same, message, extra, after=head.commit)


def _adds_nothing(lake: Lake, head: DraftHead) -> bool:
    """Whether main holds all that the draft would bring; the server would make an empty commit of it."""
    diff = lake.api.refs_api.diff_refs
    page = lake.call(lambda: diff(lake.repository, MAIN, head.commit, type="three_dot", amount=1))
    return not page.results


def _merge_of(lake: Lake, head: DraftHead, message: str, extra: Mapping[str, str]) -> Any:
    rows, watermark = summarise(lake, head.record.base, head.commit)
    record = head.record.published(head.commit, rows, watermark)
    return MODELS.Merge(message=message, metadata=record.to_metadata(extra), squash_merge=True)


def _raise_conflict(lake: Lake, draft: DraftRef, error: ApiException) -> None:
    paths = conflicts(lake, draft)
    if not paths:
        raise TransientAnswer(f"the merge was refused: {server_message(error)}", 409) from error
    listed = ", ".join(paths[:LISTED_PATHS])
    more = f" and {len(paths) - LISTED_PATHS} more" if len(paths) > LISTED_PATHS else ""
    raise MergeConflict(
        f"main changed {len(paths)} of the same paths since the draft was opened: {listed}{more}",
        paths=paths,
        remedy="Nothing was merged. Run it again from main as it is now: open_draft(..., restart=True).",
        branch=draft.branch,
        run=draft.run_id,
        base=draft.base,
    ) from error
