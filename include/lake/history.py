"""What happened to main: its commits, each with the run that made it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from include.lake.connection import MAIN, Lake
from include.lake.errors import NotFound
from include.lake.record import RunRecord, caller_metadata
from include.spec.refs import CommitRef


@dataclass(frozen=True)
class LogEntry:
    """One commit.

    Args:
        commit: Which.
        created_s: When, in seconds since the epoch, by the server's clock.
        committer: Who, as the server knows them.
        message: What for.
        record: The run that made it; None where it was none of ours.
        metadata: What else its maker recorded.
    """

    commit: CommitRef
    created_s: int
    committer: str
    message: str
    record: RunRecord | None
    metadata: tuple[tuple[str, str], ...]


def log(lake: Lake, ref: str = MAIN, *, limit: int | None = None) -> Iterator[LogEntry]:
    """The commits of a branch, the latest first; of a merge its first parent alone, which is the branch.

    Raises:
        UnknownRef: There is no such ref.
    """
    commits = lake.pages(lake.api.refs_api.log_commits, ref, first_parent=True)
    try:
        for commit in islice(commits, limit):
            yield LogEntry(
                commit=CommitRef(lake.repository, commit.id),
                created_s=commit.creation_date,
                committer=commit.committer,
                message=commit.message,
                record=RunRecord.from_metadata(commit.metadata),
                metadata=tuple(sorted(caller_metadata(commit.metadata).items())),
            )
    except NotFound as error:
        raise lake.unknown_ref(ref) from error
