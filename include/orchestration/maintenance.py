"""The steps of the lake's upkeep as Airflow's tasks run them; each is safe beside running flows, and again.

collect_drafts -> collect_objects; trim_cache; clear_leftovers

What decides is age: nothing younger than any run can be is touched. The form bounds the ages from below.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowSkipException

from include.orchestration.defaults import DAGRUN_TIMEOUT
from include.orchestration.dry_run import dry_run_param, is_dry_run
from include.settings import settings
from include.spec.refs import Freed

FLOW = "maintain_lake"
OWNER = "data@retailer.example"
NAMED = 20
GIVEN = "Airflow gives it"
# The lake server takes the link of an upload for so long after it gave out the address.
LINK_LIFE_H = 6
LONGEST_RUN_H = DAGRUN_TIMEOUT / timedelta(hours=1)

ABANDONED, REFUSED = "abandoned_after_days", "refused_for_days"
UNREFERENCED, LEFTOVER = "unreferenced_after_hours", "leftover_after_hours"

PARAMS: Mapping[str, Param] = {
    ABANDONED: Param(
        7,
        type="number",
        minimum=1,
        title="Abandoned after (days)",
        description="A draft on which nothing was written for so long is deleted",
    ),
    REFUSED: Param(
        30,
        type="number",
        minimum=1,
        title="Refused drafts are kept for (days)",
        description="To be looked at; then they are deleted",
    ),
    UNREFERENCED: Param(
        24,
        type="number",
        minimum=LINK_LIFE_H,
        title="Unreferenced after (hours)",
        description="An object that no commit and no draft names is deleted at this age",
    ),
    LEFTOVER: Param(
        24,
        type="number",
        minimum=2 * LONGEST_RUN_H,
        title="Leftovers after (hours)",
        description="Scratch that no task has touched for so long is deleted",
    ),
    **dry_run_param("Only say what would be deleted"),
}

logger = logging.getLogger(__name__)


def collect_drafts(params: Mapping[str, Any] | None = None) -> Freed:
    """Delete the branches that nobody will come back to: of published, abandoned and long refused runs."""
    from include.lake import Lake
    from include.lake import collect_drafts as collect

    assert params is not None, GIVEN
    collected = collect(
        Lake.connect(settings()),
        timedelta(days=params[ABANDONED]),
        refused_for=timedelta(days=params[REFUSED]),
        dry_run=is_dry_run(params),
    )
    names = tuple(f"{item.branch}: {item.reason}" for item in collected[:NAMED])
    return _told(Freed("drafts", len(collected), 0, is_dry_run(params), names))


def collect_objects(params: Mapping[str, Any] | None = None) -> Freed:
    """See to the rules of retention, then have the server delete what they let go and what nothing names.

    Raises:
        AirflowSkipException: The lake server has a job of its own for this.
    """
    from include.lake import Lake, ensure_rules
    from include.lake import collect_objects as collect
    from include.lake.collection import Rules
    from include.lake.errors import CollectionNotOffered

    assert params is not None, GIVEN
    lake, dry_run = Lake.connect(settings()), is_dry_run(params)
    if not dry_run:
        rules = ensure_rules(lake, Rules(days=max(1, round(params[REFUSED]))))
        logger.info("Commits are kept for %s days, but %s.", rules.days, dict(rules.branches))
    try:
        done = collect(lake, timedelta(hours=params[UNREFERENCED]), dry_run=dry_run)
    except CollectionNotOffered as error:
        raise AirflowSkipException(str(error)) from error
    logger.info("%s of expired commits, %s that nothing names", done.expired, done.unreferenced)
    return _told(Freed("objects", done.expired + done.unreferenced, done.size_bytes, dry_run))


def trim_cache(params: Mapping[str, Any] | None = None) -> Freed:
    """Evict what the local cache holds beyond its bound, but for what live checkouts count on."""
    from include.lake.cache import Cache

    assert params is not None, GIVEN
    known = settings()
    trimmed = Cache(known.cache_folder, known.cache_size_bytes).trim(dry_run=is_dry_run(params))
    logger.info("The cache holds %s bytes, its bound is %s.", trimmed.kept_bytes, known.cache_size_bytes)
    return _told(Freed("contents of the cache", trimmed.contents, trimmed.size_bytes, is_dry_run(params)))


def clear_leftovers(params: Mapping[str, Any] | None = None) -> Freed:
    """Delete the scratch of killed tasks."""
    from include.orchestration.leftovers import clear_leftovers as clear

    assert params is not None, GIVEN
    return _told(clear(settings().home, timedelta(hours=params[LEFTOVER]), dry_run=is_dry_run(params)))


def _told(freed: Freed) -> Freed:
    verb = "would be deleted" if freed.dry_run else "deleted"
    logger.info("%s %s %s, %s bytes", freed.count, freed.what, verb, freed.size_bytes)
    for name in freed.names:
        logger.info("  %s", name)
    return freed
