"""How far each source has been read, in the same commit as the data.

`raw/<source>/_watermark.json` for tables that are read by themselves:

    {"version": 1, "source": "retail", "run_id": "...",
     "positions": [{"table": "products", "kind": "snapshot", "value": "9f2c..."}]}

`raw/<source>/_watermark_log.json`, in the same form, for the log that changes are read from: kind `lsn`.

A position is kept until another one of the same table takes its place. Two runs that overlap and read the
same way both change one of these paths, so that the second merge is a conflict: a position never goes forward
without the rows it stands for. A batch and a capture of one source change different ones, and do not disturb
each other.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args, get_type_hints

from include.lake.connection import Lake
from include.lake.errors import BadWatermark
from include.lake.layout import log_watermark_path, watermark_path
from include.lake.objects import read_bytes, stat_or_none
from include.lake.upload import upload
from include.spec.refs import CommitRef, DraftRef, Position, Watermark

VERSION = 1
LONGEST_BYTES = 1 << 20
KINDS = get_args(get_type_hints(Position)["kind"])
OF_A_LOG = "lsn"


def read_watermark(lake: Lake, ref: CommitRef | DraftRef, source: str) -> Watermark | None:
    """All positions of a source at a commit or on a draft; None before its first publication.

    Raises:
        BadWatermark: The document is not one of ours; it names the field and what is accepted.
        UnknownRef: There is no such ref.
    """
    read = [_read(lake, ref, source, path) for path in _paths(source)]
    found = [watermark for watermark in read if watermark is not None]
    if len(found) < 2:
        return found[0] if found else None
    return Watermark(source, (*found[0].positions, *found[1].positions), found[0].run_id)


def _read(lake: Lake, ref: CommitRef | DraftRef, source: str, path: str) -> Watermark | None:
    stat = stat_or_none(lake, ref, path)
    if stat is None:
        return None
    if stat.size_bytes > LONGEST_BYTES:
        raise _bad(path, f"is {stat.size_bytes} bytes long", f"at most {LONGEST_BYTES}")
    watermark = parse_watermark(read_bytes(lake, ref, path), path)
    if watermark.source != source:
        raise _bad(path, f"has source {watermark.source!r}", repr(source))
    return watermark


def write_watermark(
    lake: Lake, draft: DraftRef, source: str, position: Position | Sequence[Position]
) -> Watermark:
    """Write the watermark on the draft: it becomes visible with the data, or not at all.

    Args:
        lake: Where.
        draft: What `open_draft` returned.
        source: Name of the source, as in `raw/<source>/`.
        position: One per table, or that of the source's log; each replaces that of the same table and leaves
            the others.

    Returns:
        What was written.

    Raises:
        BadWatermark: No position, two for one table, a kind that is not known, or a log's beside a table's.
    """
    positions = (position,) if isinstance(position, Position) else tuple(position)
    of_tables, of_log = _paths(source)
    kinds = {position.kind for position in positions}
    path = of_log if OF_A_LOG in kinds else of_tables
    _check(Watermark(source, positions, draft.run_id), path)
    if path == of_log and len(kinds) > 1:
        raise _bad(path, "has a position of a table", "that of a log; those of tables are written apart")
    before = _read(lake, draft, source, path)
    tables = {position.table for position in positions}
    kept = tuple(held for held in before.positions if held.table not in tables) if before else ()
    watermark = Watermark(source, (*kept, *positions), draft.run_id)
    folder, _, name = path.rpartition("/")
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / name
        file.write_bytes(render_watermark(watermark))
        upload(lake, draft, {name: file}, folder)
    return watermark


def render_watermark(watermark: Watermark) -> bytes:
    """The document; the same watermark always gives the same bytes."""
    positions = [
        {"table": p.table, "kind": p.kind, "value": p.value}
        for p in sorted(watermark.positions, key=lambda p: p.table)
    ]
    document = {
        "version": VERSION,
        "source": watermark.source,
        "run_id": watermark.run_id,
        "positions": positions,
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def parse_watermark(document: bytes, path: str) -> Watermark:
    """The watermark in a document.

    Args:
        document: Its bytes.
        path: Where it lies, for the error.

    Raises:
        BadWatermark: It names the field and what is accepted.
    """
    try:
        fields = json.loads(document)
    except ValueError as error:
        raise _bad(path, "is not JSON", "a watermark document") from error
    if not isinstance(fields, dict):
        raise _bad(path, f"holds a {type(fields).__name__}", "a JSON object")
    if fields.get("version") != VERSION:
        raise _bad(path, f"has version {fields.get('version')!r}", f"version {VERSION}")
    listed = fields.get("positions")
    if not isinstance(listed, list):
        raise _bad(path, "has no list `positions`", "a list of positions")
    watermark = Watermark(
        source=_text(fields, "source", path),
        positions=tuple(_position(item, path) for item in listed),
        run_id=_text(fields, "run_id", path),
    )
    _check(watermark, path)
    return watermark


def _position(item: Any, path: str) -> Position:
    if not isinstance(item, dict):
        raise _bad(path, f"has the position {item!r}", '{"table": ..., "kind": ..., "value": ...}')
    kind = _text(item, "kind", path)
    return Position(
        kind=kind,  # type: ignore[arg-type]  # checked with the whole document
        value=_text(item, "value", path),
        table=_text(item, "table", path),
    )


def _text(fields: dict[str, Any], field: str, path: str) -> str:
    value = fields.get(field)
    if not isinstance(value, str):
        raise _bad(path, f"has {field} {value!r}", "a string")
    return value


def _check(watermark: Watermark, path: str) -> None:
    if not watermark.positions:
        raise _bad(path, "has no positions", "at least one")
    tables = [position.table for position in watermark.positions]
    if len(set(tables)) != len(tables):
        raise _bad(path, "has two positions for one table", "one position per table")
    for position in watermark.positions:
        if position.kind not in KINDS:
            raise _bad(path, f"has kind {position.kind!r}", f"one of {', '.join(KINDS)}")
        if not position.value:
            raise _bad(path, f"has no value for table {position.table!r}", "the position as text")


def _paths(source: str) -> tuple[str, str]:
    """Of the positions of tables, and of that of the log."""
    if not re.fullmatch(r"[a-zA-Z0-9][-\w]*", source, re.ASCII):
        raise BadWatermark(f"{source!r} is no name of a source", remedy="Accepted: letters, digits, - and _.")
    return watermark_path(source), log_watermark_path(source)


def _bad(path: str, cause: str, accepted: str) -> BadWatermark:
    return BadWatermark(f"the watermark {path} {cause}", remedy=f"Accepted: {accepted}.", path=path)
