"""Small frozen references that stations take and return; they, and only they, cross XCom.

Readers name a commit, never a moving branch: a `CommitRef` read twice gives the same bytes.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class CommitRef:
    """A commit of a lake repository; all paths read through it are immutable."""

    repository: str
    commit: str


@dataclass(frozen=True)
class DraftRef:
    """A run's own branch of the lake: written and audited apart from main until it is merged.

    Args:
        repository: Name of the lake repository.
        branch: Slug of the run id; the same run always gets the same branch.
        run_id: The run that writes it, as the orchestrator names it.
        base: Commit of main that the branch started from.
    """

    repository: str
    branch: str
    run_id: str
    base: str


@dataclass(frozen=True)
class TableRef:
    """A table as it stands at one commit: the objects under `prefix`."""

    at: CommitRef
    prefix: str
