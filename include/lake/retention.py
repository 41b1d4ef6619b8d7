"""What is left of runs that did not publish: refused drafts to look at, orphans to collect."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from include.lake.connection import MAIN, Lake
from include.lake.drafts import refusal
from include.lake.errors import UnknownRef
from include.lake.names import DRAFT_PREFIX, REFUSED_PREFIX, is_draft_name, refused_branch
from include.lake.objects import stat_or_none
from include.lake.record import RunRecord
from include.lake.runs import DraftHead, delete_branch, draft_ref, find_published, is_draft_of, is_published
from include.spec.refs import Refused

REFUSED_KEPT_FOR = timedelta(days=30)
THREADS = 8

Reason = Literal["published", "abandoned", "refused long ago"]


@dataclass(frozen=True)
class Collected:
    """A branch that was deleted, and why."""

    branch: str
    run_id: str
    station: str
    reason: Reason


def refused(lake: Lake) -> tuple[Refused, ...]:
    """The drafts that were refused and are still kept, the latest first."""
    found = [
        refusal(lake, branch, head) for branch, head in _our_branches(lake) if head.record.kind == "refused"
    ]
    return tuple(sorted(found, key=lambda item: item.refused_at_s, reverse=True))


def collect_drafts(
    lake: Lake,
    older_than: timedelta,
    *,
    refused_for: timedelta = REFUSED_KEPT_FOR,
    now: datetime | None = None,
    dry_run: bool = False,
) -> tuple[Collected, ...]:
    """Delete the drafts that nobody will come back to.

    Those of runs that are published; those on which nothing was committed or staged for `older_than`; and
    the refused ones after `refused_for`. A branch that is not a draft of ours by name and by last commit is
    never touched.

    Args:
        lake: Where.
        older_than: How long a draft may rest before it counts as abandoned: longer than any run takes,
            its retries and its waits for a person included.
        refused_for: How long a refused draft is kept for inspection.
        now: The time to judge by; of this machine by default.
        dry_run: Only say what would be deleted.

    Raises:
        ValueError: A duration is negative.
    """
    if older_than < timedelta() or refused_for < timedelta():
        raise ValueError(f"durations cannot be negative: {older_than=}, {refused_for=}")
    now_s = (now or datetime.now(UTC)).timestamp()
    collected = []
    for branch, head in _our_branches(lake):
        reason = _reason(lake, branch, head, now_s, older_than, refused_for)
        if reason is None:
            continue
        if not dry_run:
            find_published(lake, head.record.run_id, head.record.station)  # tags what died before its tag
            if not _is_still(lake, branch, head):
                continue
            delete_branch(lake, branch)
        collected.append(Collected(branch, head.record.run_id, head.record.station, reason))
    for branch in _never_opened(lake, now_s - older_than.total_seconds()):
        if not dry_run:
            delete_branch(lake, branch)
        collected.append(Collected(branch, "", "", "abandoned"))
    return tuple(collected)


def _is_still(lake: Lake, branch: str, head: DraftHead) -> bool:
    """Whether nobody has taken the branch up again, or deleted it, since it was judged.

    A run that died long ago may be started again by hand at this very moment.
    """
    now = _our_head(lake, branch)
    return now is None or now.commit == head.commit


def _never_opened(lake: Lake, before_s: float) -> Iterator[str]:
    """Drafts of runs that died right after they made the branch: they bring nothing that main does not have.

    Such a branch does not say when it was made, so one that is at the head of main is left alone: a run may
    be about to open it.
    """
    head = lake.head().commit
    for branch in list(lake.pages(lake.api.branches_api.list_branches, prefix=DRAFT_PREFIX)):
        if not is_draft_name(branch.id) or branch.commit_id == head:
            continue
        commit = lake.commit(branch.commit_id)
        record = RunRecord.from_metadata(commit.metadata)
        opened = record is not None and record.kind != "published"
        if not opened and commit.creation_date < before_s and _is_bare(lake, branch.id):
            yield branch.id


def _is_bare(lake: Lake, branch: str) -> bool:
    diff, staged = lake.api.refs_api.diff_refs, lake.api.branches_api.diff_branch
    return not any(lake.pages(diff, MAIN, branch, type="three_dot")) and not any(lake.pages(staged, branch))


def _our_branches(lake: Lake) -> Iterator[tuple[str, DraftHead]]:
    """Drafts, live and refused: branches whose name and last commit both say that they are ours."""
    names = [
        branch.id
        for prefix in (DRAFT_PREFIX, REFUSED_PREFIX)
        for branch in lake.pages(lake.api.branches_api.list_branches, prefix=prefix)
    ]
    with ThreadPoolExecutor(THREADS) as threads:
        for name, head in zip(names, threads.map(lambda name: _our_head(lake, name), names), strict=True):
            if head is not None:
                yield name, head


def _our_head(lake: Lake, branch: str) -> DraftHead | None:
    try:
        commit = lake.commit(branch)
    except UnknownRef:  # deleted since it was listed
        return None
    record = RunRecord.from_metadata(commit.metadata)
    if record is None or record.kind == "published":
        return None
    kept = refused_branch(record.station, record.run_id, commit.id)
    if not is_draft_of(branch, record) and not (record.kind == "refused" and branch == kept):
        return None
    return DraftHead(commit.id, record, commit.message, commit.metadata, commit.creation_date)


def _reason(
    lake: Lake,
    branch: str,
    head: DraftHead,
    now_s: float,
    older_than: timedelta,
    refused_for: timedelta,
) -> Reason | None:
    rested_s = now_s - head.created_s
    if head.record.kind == "refused":
        return "refused long ago" if rested_s > refused_for.total_seconds() else None
    if rested_s <= older_than.total_seconds():
        return None
    if is_published(lake, head):
        return "published"
    rested_s = now_s - max(head.created_s, _last_staged_s(lake, branch, head))
    return "abandoned" if rested_s > older_than.total_seconds() else None


def _last_staged_s(lake: Lake, branch: str, head: DraftHead) -> int:
    """When the last object was staged on a draft; 0 where none is."""
    draft = draft_ref(lake, head)
    staged = lake.pages(lake.api.branches_api.diff_branch, branch)
    paths = [change.path for change in staged if change.type != "removed"]
    with ThreadPoolExecutor(THREADS) as threads:
        stats = threads.map(lambda path: stat_or_none(lake, draft, path), paths)
        return max((stat.mtime_s for stat in stats if stat is not None), default=0)
