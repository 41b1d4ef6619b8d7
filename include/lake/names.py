"""Names of branches and tags, made from run ids: readable, valid for lakeFS, one per run.

Airflow's run ids (`scheduled__2026-01-01T00:00:00+00:00`) are unique only within a DAG and hold characters
that lakeFS refuses, so a name is station + run id, slugged and cut, with a hash of both in full.
"""

import hashlib
import re

DRAFT_PREFIX = "draft-"
PUBLISHED_PREFIX = "published-"
REFUSED_PREFIX = "refused-"

STATION_CHARACTERS = 24
RUN_CHARACTERS = 40
HASH_CHARACTERS = 16


def run_slug(station: str, run_id: str) -> str:
    """A name for this run of this station: the same each time, at most 82 characters of `[a-z0-9-]`.

    Raises:
        ValueError: The run id or the station is empty.
    """
    if not run_id or not station:
        raise ValueError(f"a draft needs a run id and a station; got run_id={run_id!r}, station={station!r}")
    identity = f"{len(station)}:{station}{run_id}".encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(identity).hexdigest()[:HASH_CHARACTERS]
    readable = (_readable(station, STATION_CHARACTERS), _readable(run_id, RUN_CHARACTERS))
    return "-".join(part for part in (*readable, digest) if part)


def draft_branch(station: str, run_id: str) -> str:
    """The branch that the run writes on."""
    return DRAFT_PREFIX + run_slug(station, run_id)


def is_draft_name(branch: str) -> bool:
    """Whether a branch has the form of a draft's name."""
    pattern = rf"{DRAFT_PREFIX}[a-z0-9-]*[0-9a-f]{{{HASH_CHARACTERS}}}"
    return re.fullmatch(pattern, branch, re.ASCII) is not None


def published_tag(station: str, run_id: str) -> str:
    """The tag that says that the run is done, and where."""
    return PUBLISHED_PREFIX + run_slug(station, run_id)


def refused_branch(station: str, run_id: str, commit: str) -> str:
    """The branch that keeps a refused attempt when the same run tries again."""
    return f"{REFUSED_PREFIX}{run_slug(station, run_id)}-{commit[:8]}"


def _readable(text: str, characters: int) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:characters].strip("-")
