"""The gate of a pinned training set: what must hold of it before any model may learn from it."""
# ruff: noqa: S608  # names are quoted, and the moment is one that we wrote

import hashlib
from collections.abc import Sequence
from pathlib import Path

from include.features.build import literal, quoted
from include.features.plan import SPLIT
from include.features.point_in_time import connected
from include.features.points import LABEL
from include.features.training_set import ROWS_FILE, PinnedSet
from include.spec.feature import CREATED_TIMESTAMP, EVENT_TIMESTAMP, MATURED_TIMESTAMP
from include.spec.verdict import Finding, Verdict


def audit_training_set(pinned: PinnedSet, prefix: str) -> Verdict:
    """Reads the written rows back and checks them by rules of its own, apart from the join that made them.

    Args:
        pinned: The set.
        prefix: Its lake path, for the findings.
    """
    document = pinned.document
    rules = _rules(document["entity"], document["tables"], document["as_of"])
    file = literal(Path(pinned.folder) / ROWS_FILE)
    findings = []
    with connected() as connection:
        connection.execute(f"CREATE TEMP VIEW pinned AS FROM read_parquet({file})")
        for name, broken in rules:
            (count,) = connection.execute(f"SELECT count(*) FROM ({broken})").fetchall()[0]
            if count:
                findings.append(Finding(prefix, name, f"{count} rows"))
    text = "\n".join(f"{name}: {broken}" for name, broken in rules)
    suite_hash = hashlib.sha256(text.encode()).hexdigest()
    return Verdict(not findings, suite_hash, len(rules), tuple(findings))


def _rules(entity: Sequence[str], tables: Sequence[str], as_of: str) -> list[tuple[str, str]]:
    """Name of each rule, and SQL of the rows that break it."""
    key = ", ".join(quoted(name) for name in (*entity, EVENT_TIMESTAMP))
    rules = [
        ("there are rows", "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM pinned)"),
        ("keys are unique", f"SELECT 1 FROM pinned GROUP BY {key} HAVING count(*) > 1"),
        ("no label is missing", f"SELECT 1 FROM pinned WHERE {LABEL} IS NULL"),
        (
            "no label matured after the moment",
            f"SELECT 1 FROM pinned WHERE {MATURED_TIMESTAMP} > TIMESTAMP '{as_of}'",
        ),
        (
            "every row has a split",
            f"SELECT 1 FROM pinned WHERE {SPLIT} NOT IN ('train', 'validation', 'test')",
        ),
    ]
    for earlier, later in (("train", "validation"), ("validation", "test")):
        first = f"(SELECT min({EVENT_TIMESTAMP}) FROM pinned WHERE {SPLIT} = '{later}')"
        rules.append(
            (
                f"no {earlier} label matured after the first {later} point",
                f"SELECT 1 FROM pinned WHERE {SPLIT} = '{earlier}' AND {MATURED_TIMESTAMP} > {first}",
            )
        )
    for table in tables:
        for time in (EVENT_TIMESTAMP, CREATED_TIMESTAMP):
            column = quoted(f"{table}__{time}")
            rules.append(
                (
                    f"{table}: {time} is never after the point",
                    f"SELECT 1 FROM pinned WHERE {column} > {EVENT_TIMESTAMP}",
                )
            )
    return rules
