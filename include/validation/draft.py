"""The gate on a run's draft: judge what would be published, before it is."""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from include.lake import Lake, checkout, upload
from include.lake.objects import list_objects
from include.settings import Settings
from include.spec.refs import CommitRef, DraftRef
from include.spec.verdict import Verdict
from include.validation.gate import Evidence, judge
from include.validation.suite import EXPECTATIONS

EVIDENCE = "_gate"

logger = logging.getLogger(__name__)


def judge_draft(
    lake: Lake,
    settings: Settings,
    draft: DraftRef,
    tables: Mapping[str, str],
    *,
    evidence_prefix: str | None = None,
    expectations: Path = EXPECTATIONS,
) -> Verdict:
    """Judge tables as the draft holds them, staged files included.

    Args:
        lake: Where.
        settings: The state folder, for scratch files.
        draft: What `open_draft` returned.
        tables: Folder of the Parquet files of each table, both as lake paths.
        evidence_prefix: Folder of the lake that keeps each table's results, published or refused with the
            data; None keeps none.
        expectations: Root of the suites.

    Raises:
        SuiteError: A table has no suite, or it cannot be read.
        LakeError: The draft could not be read.
    """
    started = time.monotonic()
    before = CommitRef(draft.repository, draft.base)
    rows_before = {table: _rows(lake, before, folder) for table, folder in tables.items()}
    with TemporaryDirectory() as local:
        files: dict[str, list[Path]] = {}
        for number, (table, folder) in enumerate(tables.items()):
            # One checkout per table: a change log beside the snapshot is not fetched.
            held = any(True for _ in list_objects(lake, draft, folder))
            to = Path(local) / str(number)
            files[table] = (
                sorted(checkout(lake, draft, folder, to=to).path(folder).glob("*.parquet")) if held else []
            )
        logger.info("checked out in %.1f s", time.monotonic() - started)
        verdict, evidence = judge(files, rows_before, settings.home / "scratch", expectations=expectations)
    if evidence_prefix is not None:
        _keep(lake, draft, evidence, evidence_prefix)
    return verdict


def _rows(lake: Lake, at: CommitRef, folder: str) -> int:
    return sum(held.rows or 0 for held in list_objects(lake, at, folder))


def _keep(lake: Lake, draft: DraftRef, evidence: tuple[Evidence, ...], prefix: str) -> None:
    with TemporaryDirectory() as local:
        named: dict[str, Path] = {}
        for seen in evidence:
            name = f"{seen.table.rpartition('/')[2]}.json"
            named[name] = Path(local) / name
            named[name].write_text(json.dumps(seen.document, indent=1, sort_keys=True) + "\n")
        upload(lake, draft, named, prefix)
