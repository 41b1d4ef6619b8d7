"""Bytes that nothing refers to any more: what is to be kept, and the collection of the rest by the server.

What is kept is said in lakeFS's own rules of retention, which any lake server takes. Collecting is not part
of its API: our server does it when asked; a real lakeFS leaves it to a job of its own.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from include.lake.connection import MAIN, MODELS, Lake
from include.lake.errors import CollectionNotOffered, NotFound

# What `/config` of our server says of itself.
OUR_SERVER = "headrace-embedded"
TIMEOUT_S = 3600.0
# Whoever names a commit of main (a manifest, a training set, an auditor) can read it as long as there is one.
FOR_EVER_DAYS = 36_500


@dataclass(frozen=True)
class Rules:
    """How long the objects of commits are kept.

    Args:
        days: After a commit was last at the head of a branch, unless its branch has a number of its own.
        branches: Name and days of those that have.
    """

    days: int
    branches: tuple[tuple[str, int], ...] = ((MAIN, FOR_EVER_DAYS),)


@dataclass(frozen=True)
class CollectedObjects:
    """What a collection deleted, or would have.

    Args:
        expired: Objects that only expired commits named; reading them answers 410.
        unreferenced: Objects that nothing named: uploads that failed, or were replaced before a commit.
        size_bytes: Of both.
        dry_run: Whether they were only counted.
    """

    expired: int
    unreferenced: int
    size_bytes: int
    dry_run: bool


def ensure_rules(lake: Lake, rules: Rules) -> Rules:
    """Give the repository rules of retention where it has none; those in force now.

    Rules that somebody has set are theirs, and stay.
    """
    found = find_rules(lake)
    if found is not None:
        return found
    told = MODELS.GarbageCollectionRules(
        default_retention_days=rules.days,
        branches=[
            MODELS.GarbageCollectionRule(branch_id=branch, retention_days=days)
            for branch, days in rules.branches
        ],
    )
    lake.call(lambda: lake.api.repositories_api.set_gc_rules(lake.repository, told))
    return rules


def find_rules(lake: Lake) -> Rules | None:
    """The rules of the repository; None where nobody has set any, so that no commit expires."""
    try:
        found = lake.call(lambda: lake.api.repositories_api.get_gc_rules(lake.repository))
    except NotFound:
        return None
    branches = tuple(sorted((rule.branch_id, rule.retention_days) for rule in found.branches))
    return Rules(found.default_retention_days, branches)


def collect_objects(lake: Lake, grace: timedelta, *, dry_run: bool = False) -> CollectedObjects:
    """Have the server delete what only expired commits name, and what nothing names.

    Args:
        lake: Where.
        grace: Age below which nothing is deleted for being named by nothing: longer than an upload takes
            from its first byte until it is linked.
        dry_run: Only count.

    Raises:
        CollectionNotOffered: The server is not ours.
        ValueError: The grace is negative.
    """
    if grace < timedelta():
        raise ValueError(f"the grace cannot be negative: {grace}")
    version = lake.call(lambda: lake.api.config_api.get_config()).version_config
    if version is None or version.version_context != OUR_SERVER:
        raise CollectionNotOffered(
            "this lake server does not collect garbage when asked",
            remedy="A real lakeFS has a job of its own, which goes by the same rules: schedule that one.",
            endpoint=lake.endpoint,
            repository=lake.repository,
        )
    done = lake.call(lambda: _ask(lake, round(grace.total_seconds()), dry_run=dry_run))
    # One that was started before it learnt to count bytes tells none.
    size_bytes = done.get("size_bytes", 0)
    return CollectedObjects(done["expired"], done["unreferenced"], size_bytes, done["dry_run"])


def _ask(lake: Lake, grace_s: int, *, dry_run: bool) -> Any:
    """One request, through the SDK's transport though it has no method for it; again is harmless."""
    return lake.api.config_api.api_client.call_api(
        "/headrace/repositories/{repository}/gc",
        "POST",
        {"repository": lake.repository},
        [("grace_s", grace_s), ("dry_run", str(dry_run).lower())],
        {"Accept": "application/json"},
        response_types_map={"200": "object"},
        auth_settings=["basic_auth"],
        _return_http_data_only=True,
        _request_timeout=(lake.patience.connect_timeout_s, TIMEOUT_S),
    )
