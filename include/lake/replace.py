"""Tables of several makers under one prefix: each replaces its own, and takes back what it makes no more.

Which tables are a maker's is said beside them, in the same commit: `<prefix>/_made/<maker>.json`

    {"version": 1, "maker": "retail", "tables": ["feat_household__baskets"]}
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from include.lake.connection import Lake
from include.lake.errors import BadInventory
from include.lake.objects import list_objects, read_bytes
from include.lake.paths import joined
from include.lake.remove import remove
from include.lake.upload import Uploaded, upload
from include.spec.refs import CommitRef, DraftRef

VERSION = 1
MADE = "_made"


@dataclass(frozen=True)
class Replaced:
    """What replacing the tables of a maker did to a draft.

    Args:
        uploaded: What was staged.
        removed: Lake paths that were taken off, sorted.
        retired: Names of the tables that the maker made before and does not make any more.
        changed: Whether the draft now differs from the commit it was opened at.
    """

    uploaded: Uploaded
    removed: tuple[str, ...]
    retired: tuple[str, ...]
    changed: bool


def replace_tables(lake: Lake, draft: DraftRef, folder: Path, prefix: str, maker: str) -> Replaced:
    """Make the tables of a maker on a draft exactly those of a folder.

    Files that it put into its tables before and that are not in the folder go, and so do whole tables. What
    it made before is read at the commit that the draft was opened at. A table that another maker names stays,
    and so does whatever lies under the prefix and is no maker's table, such as evidence.

    Args:
        lake: Where.
        draft: What `open_draft` returned, with nothing of these tables staged.
        folder: One folder per table.
        prefix: The folder of the lake that holds the tables.
        maker: Who makes them, such as a source.

    Raises:
        BadInventory: A document under `_made/` is not one of ours, or the maker's name makes no file name.
        BadPath, CorruptParquet, UploadFailed, DraftGone: As of `upload`.
    """
    path = _path(prefix, maker)
    made = sorted(one.name for one in folder.iterdir() if one.is_dir())
    held = {stat.path for stat in list_objects(lake, CommitRef(lake.repository, draft.base), prefix)}
    named = {other: _tables(lake, draft, other) for other in sorted(held) if _is_inventory(other, prefix)}
    before = named.pop(path, frozenset())
    others = frozenset().union(*named.values())
    retired = tuple(sorted(before - set(made) - others))

    staged = upload(lake, draft, folder, prefix)
    inventory = _write(lake, draft, path, maker, made)
    # A table that somebody else makes, too, may hold files of theirs.
    own = tuple(f"{joined(prefix, table)}/" for table in sorted((before | set(made)) - others))
    removed = tuple(sorted(one for one in held - set(staged.paths) if one.startswith(own)))
    remove(lake, draft, removed)
    changed = bool(staged.sent_bytes or inventory.sent_bytes or removed)
    return Replaced(staged, removed, retired, changed)


def _write(lake: Lake, draft: DraftRef, path: str, maker: str, tables: list[str]) -> Uploaded:
    folder, _, name = path.rpartition("/")
    document = {"version": VERSION, "maker": maker, "tables": tables}
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / name
        file.write_text(json.dumps(document, indent=1) + "\n")
        return upload(lake, draft, {name: file}, folder)


def _tables(lake: Lake, draft: DraftRef, path: str) -> frozenset[str]:
    """The tables that a document names, as the commit has it that the draft was opened at."""
    try:
        fields: Any = json.loads(read_bytes(lake, CommitRef(lake.repository, draft.base), path))
    except ValueError as error:
        raise _bad(path, "is not JSON") from error
    tables = fields.get("tables") if isinstance(fields, dict) else None
    if not isinstance(tables, list) or fields.get("version") != VERSION:
        raise _bad(path, f"has no version {VERSION} or no list `tables`")
    # It decides what is deleted: a name that reaches out of the prefix, or hides, is nobody's table.
    if strange := [name for name in tables if not isinstance(name, str) or not _is_name(name)]:
        raise _bad(path, f"names the table {strange[0]!r}")
    return frozenset(tables)


def _is_inventory(path: str, prefix: str) -> bool:
    return path.startswith(f"{prefix}/{MADE}/") and path.endswith(".json")


def _path(prefix: str, maker: str) -> str:
    if not _is_name(maker):
        raise BadInventory(f"{maker!r} is no name of a maker", remedy="Accepted: letters, digits, - and _.")
    return joined(prefix, f"{MADE}/{maker}.json")


def _is_name(name: str) -> bool:
    return re.fullmatch(r"[a-zA-Z0-9][-\w]*", name, re.ASCII) is not None


def _bad(path: str, cause: str) -> BadInventory:
    return BadInventory(
        f"the list of tables {path} {cause}", remedy='Accepted: {"version": 1, "tables": [names]}.', path=path
    )
