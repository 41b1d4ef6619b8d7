"""I3 and I6 of change logs: their order, each change once, and the slot behind what main holds."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from include.audit.errors import StoreUnreadable
from include.audit.result import Checked, Violation
from include.audit.tables import Table, files_by_table

WATERMARK = "_watermark_log.json"
FILE = re.compile(r"((?:raw|quarantine)/[^/]+/[^/]+)/changes/([0-9A-F]{16})-([0-9A-F]{16})-\d{5}\.parquet")
_POSITION = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})@([^@]+)@(\d+)@(\d+)")
_SLOT = """
    SELECT confirmed_flush_lsn - '0/0'::pg_lsn, (SELECT system_identifier::text FROM pg_control_system())
    FROM pg_replication_slots WHERE slot_name = %s
"""

Document = Mapping[str, Any]


def change_files(paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The files of each change log among the paths of a commit, by folder of the table, in their order."""
    return files_by_table(paths, FILE)


def check_order(table: Table) -> Checked:
    """I3: read file by file, a change log is in the order of the commits, each change in it once.

    Each change stands within the span that its file's name says, and no two spans overlap.

    Args:
        table: The files of one change log, in their order.
    """
    import numpy as np
    import pyarrow.parquet as pq

    violations = [
        Violation(table.path, f"holds {_lsn(later[0])} in files up to {_lsn(before[1])} and behind it")
        for before, later in pairwise(_span(path) for path in table.files)
        if later != before and later[0] < before[1]
    ]
    count, last = 0, (-1, -1)
    for path, file in zip(table.files, sorted(table.folder.glob("*.parquet")), strict=True):
        first, end = _span(path)
        read = pq.read_table(file, columns=["operation", "commit_lsn", "sequence"])
        if not read.num_rows:
            continue
        loaded = np.array(read.column("operation").to_pylist()) == "read"
        commits = read.column("commit_lsn").to_numpy()
        places = read.column("sequence").fill_null(-1).to_numpy()
        outside = np.where(loaded, commits != end, (commits < first) | (commits >= end) | (places < 0))
        before = np.append(last[0], commits[:-1]), np.append(last[1], places[:-1])
        again = (places < before[1]) | ((places == before[1]) & ~loaded)
        behind = (commits < before[0]) | ((commits == before[0]) & again)
        for wrong, said in (
            (outside, "is outside of the span of its file"),
            (behind, "is there behind a later one"),
        ):
            if wrong.any():
                at = int(np.flatnonzero(wrong)[0])
                change = f"change {places[at]} of the commit at {_lsn(int(commits[at]))}"
                violations.append(Violation(path, f"{change} {said}"))
        count, last = count + read.num_rows, (int(commits[-1]), int(places[-1]))
    return Checked("changes", count, tuple(violations))


def log_fault(position: Document | None, files: Sequence[str]) -> str:
    """I6: how the position of a source's log does not fit its change logs; empty where it does."""
    if position is None:
        return "names no position of the log, but there are changes"
    reached = _reached(position)
    if reached is None:
        return f"names {position.get('value')!r}, which is no position in a log"
    last = max((_span(path)[1] for path in files), default=None)
    if last is None:
        return "names a position of a log, but there are no changes"
    return f"names {_lsn(reached)}, but there are changes up to {_lsn(last)}" if last > reached else ""


def check_slots(positions: Mapping[str, Document], addresses: Mapping[str, str]) -> Checked:
    """I6: the database has forgotten no change that main does not hold.

    Args:
        positions: Position of the log that main holds, by source.
        addresses: Connection string of the database of each source.

    Raises:
        StoreUnreadable: A database cannot be asked.
    """
    violations = []
    asked = {source: addresses[source] for source in sorted(positions) if addresses.get(source)}
    for source, address in asked.items():
        where = f"raw/{source}/{WATERMARK}"
        matched = _POSITION.fullmatch(str(positions[source].get("value")))
        if matched is None:
            continue  # is told of by `log_fault`
        reached, slot, system = _number(matched[1], matched[2]), matched[3], matched[4]
        found = _slot(address, slot)
        if found is None:
            violations.append(Violation(where, f"names the slot {slot!r}, which does not exist"))
        elif found[1] != system:
            violations.append(Violation(where, f"is of the database cluster {system}, not of {found[1]}"))
        elif found[0] > reached:
            said = f"names {_lsn(reached)}, but the slot {slot!r} has moved on to {_lsn(found[0])}"
            violations.append(Violation(where, said))
    return Checked("slots", len(asked), tuple(violations))


def _slot(address: str, slot: str) -> tuple[int, str] | None:
    import psycopg

    try:
        with psycopg.connect(address, connect_timeout=10) as connection:
            row = connection.execute(_SLOT, (slot,)).fetchone()
    except psycopg.Error as error:
        raise StoreUnreadable(
            f"The database of a captured source cannot be read: {type(error).__name__}.",
            remedy="Start it with `headrace up`, check HEADRACE_*_DSN, or leave it out: --no-source.",
        ) from error
    return None if row is None else (int(row[0]), str(row[1]))


def _reached(position: Document) -> int | None:
    matched = _POSITION.fullmatch(str(position.get("value")))
    return None if matched is None else _number(matched[1], matched[2])


def _span(path: str) -> tuple[int, int]:
    matched = FILE.fullmatch(path)
    assert matched is not None, path
    return int(matched[2], 16), int(matched[3], 16)


def _number(high: str, low: str) -> int:
    return int(high, 16) << 32 | int(low, 16)


def _lsn(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
