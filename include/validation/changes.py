"""The gate on captured changes: what must be true of every change log, judged on what a draft adds to it.

A change log only grows, so the files of earlier runs were judged when they came; judging them again would
cost more with each run. All tables are judged as one, by the suite `expectations/raw/changes.json`: it is
about changes and not about rows, whose rules are those of the tables that are built from them.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from include.lake import Lake, checkout, upload
from include.settings import Settings
from include.spec.refs import DraftRef
from include.spec.verdict import Verdict
from include.validation.draft import EVIDENCE
from include.validation.gate import MEMORY_LIMIT, THREADS, judge
from include.validation.suite import EXPECTATIONS

# Name of the suite; the evidence is kept under its last part.
TABLE = "raw/changes"
FOLDER = "changes"
# What a gate sees of each change, by DuckDB's expression over a file of changes.
COLUMNS: Mapping[str, str] = {
    "table_name": "?::VARCHAR",
    "operation": "operation::VARCHAR",
    "lsn": "lsn",
    "commit_lsn": "commit_lsn",
    "sequence": "sequence",
    "transaction_id": "transaction_id",
    "committed_at": "committed_at",
    "has_row": "row IS NOT NULL",
}
_TYPES = ("VARCHAR", "VARCHAR", "BIGINT", "BIGINT", "BIGINT", "BIGINT", "TIMESTAMPTZ", "BOOLEAN")

logger = logging.getLogger(__name__)


def evidence_folder(source: str) -> str:
    """Folder of the lake that keeps the results of the gates of a source."""
    return f"raw/{source}/{EVIDENCE}"


def judge_changes(
    lake: Lake,
    settings: Settings,
    draft: DraftRef,
    source: str,
    *,
    evidence: bool = True,
    expectations: Path = EXPECTATIONS,
) -> Verdict:
    """Judge the changes that a draft adds to the change logs of a source; none at all is legitimate.

    Args:
        lake: Where.
        settings: The state folder, for scratch files.
        draft: What a capture wrote on; its files are staged and not committed.
        source: Name of the source.
        evidence: Whether the results are kept in `raw/<source>/_gate/changes.json`, with the data.
        expectations: Root of the suites.

    Raises:
        SuiteError: The suite is missing, or cannot be read.
        LakeError: The draft could not be read.
    """
    scratch = settings.home / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix=f"{source}-judged-") as local:
        files: dict[str, list[Path]] = {}
        for number, path in enumerate(added_changes(lake, draft, source)):
            held = checkout(lake, draft, path, to=Path(local) / str(number))
            files.setdefault(path.split("/")[2], []).append(held.path(path))
        envelopes = Path(local) / "changes.parquet"
        _write_envelopes(files, envelopes, Path(local))
        verdict, seen = judge({TABLE: [envelopes]}, {}, scratch, expectations=expectations)
        if evidence:
            document = Path(local) / "changes.json"
            document.write_text(json.dumps(seen[0].document, indent=1, sort_keys=True) + "\n")
            upload(lake, draft, {document.name: document}, evidence_folder(source))
    return verdict


def added_changes(lake: Lake, draft: DraftRef, source: str) -> list[str]:
    """Paths of the files of changes that are staged on a draft, in order."""
    staged = lake.pages(lake.api.branches_api.diff_branch, draft.branch, prefix=f"raw/{source}/")
    paths = [change.path for change in staged if change.type in {"added", "changed"}]
    return sorted(path for path in paths if path.split("/")[3:4] == [FOLDER] and path.endswith(".parquet"))


def _write_envelopes(files: Mapping[str, Sequence[Path]], to: Path, spill: Path) -> None:
    """All changes in one file, without their rows: tables differ in those."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": THREADS,
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": str(spill),
    }
    with duckdb.connect(config=settings) as connection:
        fields = ", ".join(f"{name} {kind}" for name, kind in zip(COLUMNS, _TYPES, strict=True))
        connection.execute(f"CREATE TABLE changes ({fields})")
        chosen = ", ".join(COLUMNS.values())
        for table, parts in files.items():
            for part in parts:
                arguments: list[Any] = [table, str(part)]
                connection.execute(f"INSERT INTO changes SELECT {chosen} FROM read_parquet(?)", arguments)  # noqa: S608
        connection.execute(f"COPY changes TO {_literal(to)} (FORMAT parquet)")


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
