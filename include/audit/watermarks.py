"""I6: how far each source was read, in the same commit as what was read, and never further."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.audit.changes import FILE as LOG_FILE
from include.audit.changes import WATERMARK as LOG_WATERMARK
from include.audit.changes import change_files, log_fault
from include.audit.lake_reader import Commit, LakeReader
from include.audit.result import Checked, Violation

RAW = "raw/"
WATERMARK = "_watermark.json"
SNAPSHOT = "snapshot/_manifest.json"

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Landing:
    """What one commit of main says of a source whose rows it changed.

    Args:
        commit: Its id.
        source: Name of the source.
        changed: Paths under `raw/<source>/` that differ from the commit before.
        watermark: The positions of its tables there.
        manifests: Manifest of each table's snapshot there, by table.
        logs: Files of the source's change logs there.
        log_watermark: The position there of the log that its changes are read from.
    """

    commit: str
    source: str
    changed: tuple[str, ...]
    watermark: Document | None
    manifests: Mapping[str, Document]
    logs: tuple[str, ...] = ()
    log_watermark: Document | None = None


def read_landings(lake: LakeReader, chain: Sequence[Commit]) -> list[Landing]:
    """What each commit that changed rows of a source says of it, the latest first."""
    landings = []
    for commit in chain:
        if not commit.get("parents"):
            continue
        changed = lake.changed(commit["parents"][0], commit["id"], RAW)
        for source in sorted({path.split("/")[1] for path in changed if _is_data(path)}):
            prefix = f"{RAW}{source}/"
            paths = [item["path"] for item in lake.objects(commit["id"], prefix)]
            manifests = {
                path.split("/")[2]: lake.document(commit["id"], path) or {}
                for path in paths
                if path.endswith(f"/{SNAPSHOT}")
            }
            own = tuple(path for path in changed if path.startswith(prefix))
            watermark = lake.document(commit["id"], f"{prefix}{WATERMARK}")
            of_log = lake.document(commit["id"], f"{prefix}{LOG_WATERMARK}")
            logs = tuple(path for files in change_files(paths).values() for path in files)
            landings.append(Landing(commit["id"], source, own, watermark, manifests, logs, of_log))
    return landings


def check_watermarks(landings: Sequence[Landing]) -> Checked:
    """I6: where rows changed, the watermark changed with them, and it names what is there."""
    violations = [
        Violation(f"{landing.commit}:{RAW}{landing.source}/{where}", fault)
        for landing in landings
        for where, fault in (*_table_faults(landing), *_log_faults(landing))
    ]
    count = sum(len(_positions(one.watermark)) + len(_positions(one.log_watermark)) for one in landings)
    return Checked("positions", max(count, len(landings)), tuple(violations))


def _table_faults(landing: Landing) -> Iterator[tuple[str, str]]:
    """Where, and how, the positions of tables do not fit."""
    rows = any(_is_data(path) and not LOG_FILE.fullmatch(path) for path in landing.changed)
    if landing.watermark is None:
        if rows:
            yield WATERMARK, "is not there, but rows of its source are"
        return
    if rows and f"{RAW}{landing.source}/{WATERMARK}" not in landing.changed:
        yield WATERMARK, "did not change with the rows of its source"
    positions = {position["table"]: position for position in _positions(landing.watermark)}
    for table in sorted({*landing.manifests, *positions}):
        fault = _fault(positions.get(table), landing.manifests.get(table))
        if fault:
            yield f"{WATERMARK}#{table}", fault


def _log_faults(landing: Landing) -> Iterator[tuple[str, str]]:
    """Where, and how, the position of the log does not fit."""
    if landing.log_watermark is None and not landing.logs:
        return
    changes = any(LOG_FILE.fullmatch(path) for path in landing.changed)
    if changes and landing.log_watermark and f"{RAW}{landing.source}/{LOG_WATERMARK}" not in landing.changed:
        yield LOG_WATERMARK, "did not change with the changes of its source"
    positions = [one for one in _positions(landing.log_watermark) if one.get("kind") == "lsn"]
    fault = log_fault(positions[0] if positions else None, landing.logs)
    if fault:
        yield LOG_WATERMARK, fault


def _positions(watermark: Document | None) -> Sequence[Document]:
    return tuple((watermark or {}).get("positions", ()))


def _fault(position: Document | None, manifest: Document | None) -> str:
    if position is None:
        return "names no position, but there are rows"
    if manifest is None:
        return "names a position of a table without rows"
    if position.get("kind") == "snapshot" and position.get("value") != snapshot_digest(manifest):
        return "names a snapshot that is not the one there"
    origins = [part.get("origin", "") for part in manifest.get("parts", ())]
    if position.get("kind") == "files" and position.get("value") != max(origins, default=None):
        return f"names {position.get('value')!r}, but the last file there is {max(origins, default=None)!r}"
    return ""


def snapshot_digest(manifest: Document) -> str:
    """SHA-256 over the contract's hash and those of the parts, a line each, as the position states it."""
    hashes = [str(part.get("sha256")) for part in manifest.get("parts", ())]
    return hashlib.sha256("\n".join([str(manifest.get("contract")), *hashes]).encode()).hexdigest()


def _is_data(path: str) -> bool:
    return path.endswith(".parquet") and "/_" not in path
