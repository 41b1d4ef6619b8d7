"""Change data capture: every change of a source's database on a draft of the lake, in order, once.

Data and position lie in the same commit, and the slot moves only to a position that main holds. So wherever a
run dies, the next one finds position and data in one of two states, both whole, and reads on from there.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from include.ingestion.batch import Desk
from include.ingestion.capture_feed import capture_of, captured_tables, feed_of, held_position, lake_name
from include.ingestion.change_log import ChangeLog
from include.ingestion.change_routes import Routes
from include.ingestion.connectors.postgres_cdc import WINDOW_BYTES, ReadWindow, Window, advance, read_window
from include.ingestion.connectors.postgres_publication import (
    begin_anew,
    check_publication,
    entries,
)
from include.ingestion.connectors.postgres_slot import Feed, SlotState, create_slot, slot_state
from include.ingestion.connectors.postgres_snapshot import Range, read_range, snapshot_ranges
from include.ingestion.connectors.postgres_stream import Tail
from include.ingestion.connectors.postgres_stream import tailing as tailing_feed
from include.ingestion.connectors.postgres_watch import SlotWatch
from include.ingestion.connectors.postgres_watch import watching as watching_feed
from include.ingestion.pgoutput import CdcError, Decoded, LogPosition
from include.lake import Lake, write_watermark
from include.settings import Settings
from include.spec.refs import Captured, CommitRef, Position
from include.spec.source import Source

# Ranges of tables that are read at once.
WORKERS = 2
# A position that moved this far without a change for us is published by itself: log of other tables would
# pile up behind the slot for ever.
IDLE_BYTES = 16 * 2**20

logger = logging.getLogger(__name__)


def capture(
    desk: Desk, *, window_bytes: int = WINDOW_BYTES, anew: bool = False, read: ReadWindow = read_window
) -> Captured:
    """Write the next changes of a source, and how far they go, onto the draft; moves no slot.

    Where main holds no position, publication and slot are made, and all tables are read as the slot begins.
    Otherwise one window of the log behind main's position is read. Memory is that of a few batches.

    Args:
        desk: Where; its source declares a capture.
        window_bytes: Of log to read at most, but for the last transaction.
        anew: Give up main's position and change logs, and begin as if there were none: a person's decision,
            where the slot was lost. Published like any other draft.
        read: Gives the window: from the slot, or from a stream that holds it (`Tail.read`).

    Raises:
        ContractError: A table does not fit its declaration any more, and its capture says to stop; or a row
            breaks a rule of a table that refuses all for it.
        CdcError: The slot or the publication does not hold what the lake lacks; the remedy is in it.
        DatabaseError: The database could not be read.
    """
    started = time.monotonic()
    feed = feed_of(desk.settings, desk.source)
    routes = Routes(desk, feed, capture_of(desk.source), captured_tables(desk.source))
    routes.discard()
    held = held_position(desk.lake, desk.source, CommitRef(desk.draft.repository, desk.draft.base))
    scratch = desk.settings.home / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix=f"{desk.source.name}-changes-") as local:
        log = ChangeLog(Path(local))
        if held is None or anew:
            reached = _begin(desk, feed, routes, log, held)
        else:
            reached = _go_on(desk, feed, routes, log, held, partial(read, window_bytes=window_bytes))
    idle = held is not None and reached.lsn - held.lsn < IDLE_BYTES and not anew
    changed = not idle or bool(log.rows) or bool(routes.released)
    if changed:
        write_watermark(desk.lake, desk.draft, desk.source.name, reached.position)
    logged = routes.logged(first=held is None or anew)
    captured = Captured(
        source=desk.source.name,
        position=reached.position,
        rows=sum(one.rows_in for one in logged),
        tables=_tables(log, "raw/"),
        first=held is None or anew,
        behind_bytes=max(slot_state(feed).end - reached.lsn, 0),
        seconds=time.monotonic() - started,
        changed=changed,
        quarantined=_tables(log, "quarantine/"),
        logged=logged,
    )
    logger.info("%s: %s changes up to %s", captured.source, f"{captured.rows:,}", captured.position.value)
    return captured


def confirm(lake: Lake, settings: Settings, source: Source, tail: Tail | None = None) -> Position | None:
    """Let the database forget the log up to the position that main holds, and no further.

    After the merge, and at the begin of each run: of a run that died between the two nothing is left to do.

    Args:
        lake: Whose main.
        settings: Where the database is.
        source: What is captured.
        tail: The stream that holds the slot, where there is one.

    Returns:
        Main's position; None where there is none yet.

    Raises:
        CdcError: The slot or the publication is not the one of the position; changes may be lost.
        DatabaseError: The database cannot be asked.
    """
    held = held_position(lake, source, lake.head())
    if held is None:
        return None
    if tail is not None:
        tail.confirm(held)
    else:
        advance(feed_of(settings, source), held)
    return held.position


def retention(settings: Settings, source: Source) -> SlotState:
    """The slot as the database has it: how much of its log it keeps for us, and how near the end of that is.

    Raises:
        CdcError: There is no slot, or it was invalidated; the remedy is in it.
        DatabaseError: The database cannot be asked.
    """
    return slot_state(feed_of(settings, source))


@contextmanager
def watching(settings: Settings, source: Source) -> Iterator[SlotWatch]:
    """Watch for changes behind main's position while the block lasts; `pending` asks.

    Raises:
        DatabaseError: The database cannot be reached.
    """
    with watching_feed(feed_of(settings, source), idle_bytes=IDLE_BYTES) as watch:
        yield watch


@contextmanager
def tailing(settings: Settings, source: Source, position: Position) -> Iterator[Tail]:
    """Hold the slot and receive changes behind main's position, as they are committed, while the block lasts.

    Raises:
        CdcError: Somebody else reads the slot, or slot or publication are not the ones of the position.
        DatabaseError: The database cannot be reached, or broke off.
    """
    feed, at = feed_of(settings, source), LogPosition.of(position)
    longest_s = capture_of(source).publish_every_s
    with tailing_feed(feed, at, longest_s=longest_s, idle_bytes=IDLE_BYTES) as tail:
        yield tail


def _begin(desk: Desk, feed: Feed, routes: Routes, log: ChangeLog, held: LogPosition | None) -> LogPosition:
    """All tables as a new slot begins."""
    if held is None and held_position(desk.lake, desk.source, desk.lake.head()) is not None:
        raise CdcError(
            f"Source {desk.source.name!r} was captured by another run since this draft was opened.",
            remedy="Nothing is lost. Run it again from main as it is now.",
            branch=desk.draft.branch,
        )
    claimed = held is not None and held.slot == feed.slot
    begin_anew(feed, tuple(routes.tables), lake_name(desk.lake), claimed=claimed)
    routes.clear()
    with create_slot(feed) as slot, ThreadPoolExecutor(WORKERS) as workers:
        ranges, routes.entries = snapshot_ranges(feed), entries(feed)
        for part in ranges:
            routes.check(part.layout)

        def read(item: tuple[int, Range]) -> ChangeLog:
            number, part = item
            folder = log.scratch / f"range-{number:06d}"
            folder.mkdir()
            own = ChangeLog(folder)
            for batch in read_range(feed, slot, part):
                routes.write(own, batch)
            own.close()
            return own

        for own in workers.map(read, enumerate(ranges)):
            log.take(own)
        routes.check_share()
        log.stage(desk.lake, desk.draft, 0, slot.position.lsn)
        routes.write_shapes(log.scratch)
        return slot.position


def _go_on(
    desk: Desk, feed: Feed, routes: Routes, log: ChangeLog, held: LogPosition, read: Callable[..., Window]
) -> LogPosition:
    """One window of the log behind a position."""
    known = routes.read_shapes()
    check_publication(feed, known, routes.entries)
    routes.release(log.scratch)
    window = read(feed, held, known=known)
    # What is raised here must not leave the reading to the garbage collector: the slot would stay in use.
    with closing(cast("Generator[Decoded]", window.changes)) as parts:
        for decoded in parts:
            for batch in decoded.changes:
                routes.write(log, batch)
    reached = window.position
    log.stage(desk.lake, desk.draft, held.lsn, reached.lsn)
    routes.write_shapes(log.scratch)
    return reached


def _tables(log: ChangeLog, prefix: str) -> tuple[tuple[str, int], ...]:
    """Changes by lake path of the table, of the folders under a prefix."""
    rows: Counter[str] = Counter()
    for folder, number in log.rows.items():
        rows[folder.rpartition("/")[0]] += number
    return tuple((table, number) for table, number in sorted(rows.items()) if table.startswith(prefix))
