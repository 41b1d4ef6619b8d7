"""What every way out of quarantine ends in: written, judged and merged, once, in one commit."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from include.spec.errors import HeadraceError

if TYPE_CHECKING:
    from include.lake import Lake
    from include.spec.refs import DraftRef
    from include.spec.verdict import Verdict

STATION = "quarantine"


def publish_once(
    lake: "Lake",
    named: Sequence[str],
    asked: Sequence[str],
    message: str,
    told: Mapping[str, str],
    write: "Callable[[DraftRef], None]",
    audit: "Callable[[DraftRef], Verdict]",
) -> str:
    """Publish what somebody decided: a run that died goes on, and one that is done finds nothing to do.

    Args:
        lake: Where.
        named: What is done with what; the run's name begins with it.
        asked: All else that makes it another run; main as it is now is added.
        message: Of the commit.
        told: Its metadata; `write` may add to it.
        write: Writes the draft.
        audit: Judges it.

    Returns:
        What became of it, for people.

    Raises:
        HeadraceError: It was refused.
    """
    from include.lake import publish
    from include.spec.refs import Refused

    digest = hashlib.sha256("\n".join([*named, *asked, lake.head().commit]).encode()).hexdigest()[:12]
    done = publish(lake, "-".join([*named, digest]), STATION, write, audit, message, told)
    if isinstance(done, Refused):
        worst = "; ".join(f"{one.rule}: {one.observed}" for one in done.verdict.findings[:3])
        raise HeadraceError(
            f"Refused: {worst}.", remedy="Main and the quarantine are as they were.", branch=done.branch
        )
    return f"Published as {done.commit.commit[:12]}" if done.changed else "Nothing changed"
