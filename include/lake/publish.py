"""Write-audit-publish: the one way anything reaches main.

As separate tasks: `open_draft` -> write (`upload`, `write_watermark`) -> audit on `checkout(lake, draft, ...)`
-> `commit_draft` -> `merge_draft`, or `refuse`. As one call: `publish`.
"""

from collections.abc import Callable, Mapping

from include.lake.connection import Lake
from include.spec.refs import CommitRef, DraftRef, Published, Refused
from include.spec.verdict import Verdict


def find_published(lake: Lake, run_id: str, station: str) -> Published | None:
    """What an earlier attempt of this run published, or None: one lookup by tag."""
    raise NotImplementedError


def open_draft(lake: Lake, run_id: str, station: str, *, restart: bool = False) -> DraftRef:
    """The run's own branch of main, made if it is not there; the same run always gets the same branch.

    Args:
        lake: Where.
        run_id: The run, as the orchestrator names it; unique within the station.
        station: The station or DAG that the run id belongs to.
        restart: Throw away what an earlier attempt of the run left on the branch and start from main again.
    """
    raise NotImplementedError


def discard(lake: Lake, draft: DraftRef, prefix: str = "") -> None:
    """Drop what was written on the draft under a prefix (a table's folder) and is not committed yet.

    A writing task calls it first, so that a retry never leaves files of the attempt that died.
    """
    raise NotImplementedError


def commit_draft(
    lake: Lake, draft: DraftRef, message: str, metadata: Mapping[str, str], verdict: Verdict
) -> CommitRef:
    """Commit what the gates passed, on the draft's branch; again is harmless."""
    raise NotImplementedError


def refuse(lake: Lake, draft: DraftRef, verdict: Verdict) -> Refused:
    """Keep the draft apart for inspection, with the verdict in its last commit; again is harmless."""
    raise NotImplementedError


def merge_draft(lake: Lake, draft: DraftRef, message: str = "") -> Published:
    """Put a committed draft on main, atomically, and delete its branch; again returns the same."""
    raise NotImplementedError


def publish(
    lake: Lake,
    run_id: str,
    station: str,
    write: Callable[[DraftRef], object],
    audit: Callable[[DraftRef], Verdict],
    message: str,
    metadata: Mapping[str, str] | None = None,
) -> Published | Refused:
    """Write on a branch, audit it, and merge it to main only if the verdict passed."""
    raise NotImplementedError
