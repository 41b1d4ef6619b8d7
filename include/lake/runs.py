"""What the lake knows of a run: its draft, and what it published.

A run that is done has a tag, `published-<run>`: on the merge commit, or, where nothing changed, on the last
commit of its draft. The tag is made before the draft's branch is deleted, so a run that died in between is
still known by its branch, and its merge is found on main among the commits since the draft was opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from include.lake.connection import MAIN, MODELS, Lake
from include.lake.errors import DraftGone, UnknownRef
from include.lake.names import draft_branch, published_tag
from include.lake.record import RunRecord
from include.spec.refs import CommitRef, DraftRef, Published

CLOCK_SLACK_S = 3600


@dataclass(frozen=True)
class DraftHead:
    """The last commit of a draft's branch.

    Args:
        commit: Its id.
        record: The run it belongs to.
        message: Its message.
        metadata: All of its metadata.
        created_s: When, in seconds since the epoch, by the server's clock.
    """

    commit: str
    record: RunRecord
    message: str
    metadata: Mapping[str, str]
    created_s: int


def draft_head(lake: Lake, branch: str) -> DraftHead | None:
    """The last commit of a draft; None where there is no branch or no draft was opened on it.

    A branch just made points at main, whose commits are of other runs: only the name tells.
    """
    try:
        commit = lake.commit(branch)
    except UnknownRef:
        return None
    record = RunRecord.from_metadata(commit.metadata)
    if record is None or record.kind == "published" or not is_draft_of(branch, record):
        return None
    return DraftHead(commit.id, record, commit.message, commit.metadata, commit.creation_date)


def is_draft_of(branch: str, record: RunRecord) -> bool:
    """Whether a branch is the draft of the run, by its name."""
    return branch == draft_branch(record.station, record.run_id)


def needed_head(lake: Lake, draft: DraftRef) -> DraftHead:
    """The last commit of a draft that a step needs.

    Raises:
        DraftGone: There is no such draft, or another attempt of the run has restarted it.
    """
    head = draft_head(lake, draft.branch)
    ids = {"branch": draft.branch, "run": draft.run_id, "station": draft.station}
    if head is None:
        raise DraftGone(
            "the draft is not there",
            remedy="It was collected, or published already; open_draft starts it again.",
            **ids,
        )
    if draft.attempt and head.record.attempt != draft.attempt:
        raise DraftGone(
            "another attempt of the same run has restarted the draft",
            remedy="Leave it to that one, or restart it once more with open_draft(..., restart=True).",
            **ids,
        )
    return head


def draft_ref(lake: Lake, head: DraftHead) -> DraftRef:
    """The reference of a draft, from its last commit."""
    record = head.record
    return DraftRef(
        repository=lake.repository,
        branch=draft_branch(record.station, record.run_id),
        run_id=record.run_id,
        base=record.base,
        station=record.station,
        attempt=record.attempt,
    )


def find_published(lake: Lake, run_id: str, station: str) -> Published | None:
    """What an earlier attempt of this run published; None if it did not.

    One lookup by tag. Where the run died between merge and tag, also the commits of main since then.

    Raises:
        LakeError: The lake could not be asked.
    """
    try:
        return _published(lake, lake.commit(published_tag(station, run_id)))
    except UnknownRef:
        head = draft_head(lake, draft_branch(station, run_id))
    if head is None or head.record.kind != "passed":
        return None
    merge = merged(lake, head)
    return None if merge is None else finish(lake, head.record, merge)


def is_published(lake: Lake, head: DraftHead) -> bool:
    """Whether the run of a draft is done; changes nothing."""
    try:
        lake.resolve(published_tag(head.record.station, head.record.run_id))
    except UnknownRef:
        return head.record.kind == "passed" and merged(lake, head) is not None
    return True


def merged(lake: Lake, head: DraftHead) -> str | None:
    """The commit of main that a draft was merged as; None if it was not.

    Reads main back to where the draft was opened: as many commits as were published since.
    """
    log = lake.pages(lake.api.refs_api.log_commits, MAIN, first_parent=True)
    for commit in log:
        if commit.id == head.record.base or commit.creation_date < head.created_s - CLOCK_SLACK_S:
            return None
        record = RunRecord.from_metadata(commit.metadata)
        if record is not None and record.kind == "published" and record.draft == head.commit:
            return str(commit.id)
    return None


def finish(lake: Lake, record: RunRecord, commit: str) -> Published:
    """Tag the commit that ends a run, then delete its draft; again is harmless, the first tag stays."""
    tag = MODELS.TagCreation(id=published_tag(record.station, record.run_id), ref=commit)
    lake.call(lambda: lake.api.tags_api.create_tag(lake.repository, tag), done_at=(409,))
    published = _published(lake, lake.commit(tag.id))
    delete_branch(lake, draft_branch(record.station, record.run_id))
    return published


def delete_branch(lake: Lake, branch: str) -> None:
    """Delete a branch with all that is staged on it; one that is gone is fine."""
    lake.call(lambda: lake.api.branches_api.delete_branch(lake.repository, branch), done_at=(404,))


def create_branch(lake: Lake, branch: str, source: str) -> None:
    """Make a branch; one that is there already stays as it is."""
    creation = MODELS.BranchCreation(name=branch, source=source)
    lake.call(lambda: lake.api.branches_api.create_branch(lake.repository, creation), done_at=(409,))


def commit_record(
    lake: Lake,
    branch: str,
    record: RunRecord,
    message: str,
    extra: Mapping[str, str] | None = None,
    *,
    after: str,
    allow_empty: bool = True,
) -> str:
    """Commit a branch with the record of its run; the id. An answer that was lost makes no second commit.

    Args:
        lake: Where.
        branch: The draft's branch.
        record: What the commit says of the run.
        message: One line.
        extra: The caller's own metadata.
        after: The branch's last commit as the caller knows it; a later one of the same kind is this one.
        allow_empty: Whether a commit without changes is made.

    Raises:
        ServerRefused: Among others, there is nothing to commit and that is not allowed.
    """
    creation = MODELS.CommitCreation(
        message=message, metadata=record.to_metadata(extra), allow_empty=allow_empty
    )

    def arrived() -> str | None:
        head = draft_head(lake, branch)
        made = head is not None and head.commit != after and head.record.kind == record.kind
        return head.commit if head is not None and made else None

    def commit() -> str:
        return str(lake.api.commits_api.commit(lake.repository, branch, creation).id)

    return lake.call(commit, check=arrived)


def _published(lake: Lake, commit: object) -> Published:
    metadata = getattr(commit, "metadata", None)
    record = RunRecord.from_metadata(metadata)
    if record is None or record.kind not in {"published", "unchanged"}:
        raise DraftGone(
            "a tag of a published run is not on a commit of a published run",
            remedy="Somebody moved it by hand: delete the tag, and publish again.",
            commit=getattr(commit, "id", ""),
        )
    changed = record.kind == "published"
    return Published(
        run_id=record.run_id,
        station=record.station,
        commit=CommitRef(lake.repository, str(getattr(commit, "id", "")) if changed else record.at),
        changed=changed,
        suite_hash=record.suite_hash,
        rows=tuple(sorted(record.rows.items())),
    )
