"""Changes of a source followed in one process: from a commit there to a commit of main in seconds.

Each window is published as any other run is: draft, capture, gate, merge, and only then the slot moves. What
is far behind is read from the slot in bulk; what is near comes by a stream that holds the slot. This module
knows no Airflow: the command line and the continuous mode of the DAG run the same loop.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from include.ingestion.batch import Desk
from include.ingestion.capture_feed import held_position
from include.ingestion.cdc import IDLE_BYTES, capture, confirm, retention, tailing
from include.ingestion.connectors.postgres import DatabaseError
from include.ingestion.connectors.postgres_cdc import WINDOW_BYTES, read_window
from include.ingestion.connectors.postgres_slot import SlotState
from include.ingestion.connectors.postgres_stream import OutOfStep, Tail
from include.ingestion.pgoutput import LogPosition
from include.ingestion.quarantine import balance_metadata
from include.lake import Lake, commit_draft, merge_draft, open_draft, refuse
from include.lake.errors import Busy, DraftGone, MergeConflict, Unreachable
from include.lake.runs import delete_branch
from include.orchestration.callbacks import alert
from include.settings import Settings
from include.spec.errors import HeadraceError
from include.spec.refs import Captured, Position, Published, Refused
from include.spec.source import Source
from include.validation.changes import judge_changes

# Between two looks whether to end, and at a server that did not answer; changes themselves wake the loop.
POLL_S = 0.2
# Of log that main lacks. Beyond it windows in bulk are faster by far, below it they cost more than a stream.
# It is more than what is published for being idle, so that a window always gets on.
FAR_BYTES = 4 * IDLE_BYTES
RETENTION_EVERY_S = 60.0
# How long a database or a lake that does not answer is asked again before the loop gives up.
PATIENCE_S = 120.0
LONGEST_PAUSE_S = 10.0
# What ends by itself: a server that restarts, or another run of the same source that was first.
PASSING = (DatabaseError, Unreachable, Busy, MergeConflict, DraftGone, OutOfStep)

logger = logging.getLogger(__name__)


class RefusedChanges(HeadraceError):
    """The gate refused what was captured: the log is not read on behind it before somebody looks."""


@dataclass(frozen=True)
class Window:
    """One window of changes on its way to main.

    Args:
        captured: What was read.
        published: Where it is on main; None where there was nothing to publish.
        seconds: From the opening of the draft to the merge.
    """

    captured: Captured
    published: Published | None
    seconds: float


@dataclass
class Followed:
    """What a follower has done so far.

    Args:
        windows: How many were published.
        rows: Changes in them.
        quiet: Whether it ended because nothing came.
    """

    windows: int = 0
    rows: int = 0
    quiet: bool = False


def flow_of(source: Source) -> str:
    """The station by which the lake knows captures of a source, and the id of their DAG."""
    return f"ingest_cdc__{source.name}"


def message_of(captured: Captured) -> str:
    """One line for the log of main."""
    tables = ", ".join(table.rpartition("/")[2] for table, _ in (*captured.tables, *captured.quarantined))
    what = "Capture" if not captured.first else "Begin to capture"
    return f"{what} {captured.source}: {captured.rows:,} changes" + (f" of {tables}" if tables else "")


def metadata_of(captured: Captured) -> dict[str, str]:
    """The keys of the commit."""
    aside = sum(rows for _, rows in captured.quarantined)
    told = {"source": captured.source, "rows": str(captured.rows), "quarantined": str(aside)}
    return told | balance_metadata(captured.logged)


def publish_window(
    lake: Lake,
    settings: Settings,
    source: Source,
    *,
    window_bytes: int = WINDOW_BYTES,
    anew: bool = False,
    tail: Tail | None = None,
) -> Window:
    """Bring one window of changes to main, and let the slot follow.

    Dying anywhere costs reading again: what was not merged is read once more, what was merged is not.

    Args:
        lake: Where.
        settings: Where the database is.
        source: What is captured.
        window_bytes: Of log to read at most, but for the last transaction.
        anew: Give up main's position and change logs for those of a new slot.
        tail: The stream that holds the slot, where there is one.

    Raises:
        RefusedChanges: The gate refused the changes; main is as it was, the draft is kept.
        CdcError, ContractError, DatabaseError, LakeError: See `include.ingestion.cdc.capture`.
    """
    began = time.monotonic()
    # Named by what it follows on main: an attempt that died is begun again on the same draft.
    run_id = f"behind-{lake.head().commit[:16]}"
    draft = open_draft(lake, run_id, flow_of(source), restart=True)
    read = read_window if tail is None else tail.read
    captured = capture(Desk(lake, settings, draft, source), window_bytes=window_bytes, anew=anew, read=read)
    if not captured.changed:
        delete_branch(lake, draft.branch)
        return Window(captured, None, time.monotonic() - began)
    verdict = judge_changes(lake, settings, draft, source.name)
    if not verdict.passed:
        raise refusal(refuse(lake, draft, verdict))
    commit_draft(lake, draft, message_of(captured), metadata_of(captured), verdict)
    published = merge_draft(lake, draft)
    seconds = time.monotonic() - began
    confirm(lake, settings, source, tail)
    return Window(captured, published, seconds)


def refusal(refused: Refused) -> RefusedChanges:
    """The error for changes that the gate refused."""
    broken = [finding for finding in refused.verdict.findings if finding.severity == "fail"]
    worst = "; ".join(f"{finding.rule}: {finding.observed}" for finding in broken)
    return RefusedChanges(
        f"Refused: {len(broken)} of {refused.verdict.checked} rules on the changes are broken: {worst}.",
        remedy="Main and the slot are as they were; nothing is lost. Look at the branch, and run again.",
        branch=refused.branch,
    )


def watch_retention(settings: Settings, source: Source, *, run: str = "") -> SlotState:
    """Look at how much log the database keeps for us, and alert the owner where it is too much.

    Args:
        settings: Where the database is.
        source: What is captured.
        run: Who looks, for the alert.

    Raises:
        CdcError: There is no slot, or it was invalidated.
        DatabaseError: The database cannot be asked.
    """
    assert source.capture is not None
    state = retention(settings, source)
    if concern := concern_of(state, source.capture.alert_retained_bytes):
        error = f"slot {source.capture.slot}: {concern}; see docs/runbooks/cdc.md"
        alert(owner=source.owner, dag=flow_of(source), task="", run=run, error=error)
    return state


def concern_of(state: SlotState, alert_bytes: int) -> str:
    """Why somebody should look at a slot; empty where nobody need."""
    if state.wal_status == "unreserved":
        return "the database is about to drop log that was not read (wal_status unreserved)"
    if state.safe_bytes is not None and state.safe_bytes < alert_bytes:
        return f"only {state.safe_bytes:,} bytes may be written before the slot is lost"
    if state.retained_bytes > alert_bytes:
        return f"the database keeps {state.retained_bytes:,} bytes of its log, more than {alert_bytes:,}"
    return ""


@dataclass
class Follower:
    """Follows the changes of a source until it is told to end.

    Args:
        lake: Where to.
        settings: Where the database is.
        source: What is captured.
        heard: Told of each window that was published.
        stop: Ends it, between two windows.
        window_bytes: Of log that one window reads at most.
        patience_s: How long servers that do not answer are asked again.
    """

    lake: Lake
    settings: Settings
    source: Source
    heard: Callable[[Window], object]
    stop: threading.Event = field(default_factory=threading.Event)
    window_bytes: int = WINDOW_BYTES
    patience_s: float = PATIENCE_S
    done: Followed = field(default_factory=Followed)
    _began: float = 0.0
    _moved: float = 0.0
    _looked: float = 0.0

    def follow(
        self,
        *,
        for_s: float = float("inf"),
        quiet_s: float = float("inf"),
        quiet_after_changes_s: float | None = None,
    ) -> Followed:
        """Publish changes as they come, waiting at most the capture's `publish_every_s` for others.

        Args:
            for_s: End after so long.
            quiet_s: End when nothing came for so long; 0 ends as soon as main has everything.
            quiet_after_changes_s: The same once some came; `quiet_s` by default.

        Raises:
            RefusedChanges: The gate refused changes.
            CdcError: The slot or the publication is not what main's position is of.
            ContractError: A table has changed its shape, and its capture says to stop.
            DatabaseError, LakeError: A server did not answer for longer than the patience.
        """
        self._began = self._moved = time.monotonic()
        self._looked = 0.0
        after_changes_s = quiet_s if quiet_after_changes_s is None else quiet_after_changes_s
        failed_since: float | None = None
        pause_s = POLL_S
        while True:
            windows = self.done.windows
            try:
                self._follow(for_s, quiet_s, after_changes_s)
            except PASSING as error:
                now = time.monotonic()
                if failed_since is None or self.done.windows > windows:
                    failed_since, pause_s = now, POLL_S
                if now - failed_since > self.patience_s:
                    raise
                logger.warning("%s; asked again in %.1f s", error, pause_s)
                self.stop.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                return self.done

    def _follow(self, for_s: float, quiet_s: float, after_changes_s: float) -> None:
        """Until the end, or the first error: then everything is asked anew."""
        until = self._began + for_s
        while not self._over(until):
            position = self._catch_up(until)
            with tailing(self.settings, self.source, position) as tail:
                # Main may have moved since, and the stream with it.
                confirm(self.lake, self.settings, self.source, tail)
                near = self._tail(tail, until, quiet_s, after_changes_s)
            if near:
                # What the stream was told last it may not have heard.
                confirm(self.lake, self.settings, self.source)
                return

    def _catch_up(self, until: float) -> Position:
        """Publish windows until main is near the end of the log; main's position."""
        held = held_position(self.lake, self.source, self.lake.head())
        position = held.position if held is not None else None
        while not self._over(until) or position is None:
            if position is not None and self._behind_bytes(position) <= FAR_BYTES:
                break
            window = self._publish()
            if window.published is None:
                break
            position = window.captured.position
        assert position is not None, "a first capture always publishes"
        return position

    def _tail(self, tail: Tail, until: float, quiet_s: float, after_changes_s: float) -> bool:
        """Publish what the stream brings, to the end; False where it is left behind by the log."""
        assert self.source.capture is not None
        every_s, published = self.source.capture.publish_every_s, -float("inf")
        while not self._over(until):
            self._look(time.monotonic())
            if tail.pending(POLL_S):
                # The first change of a burst goes at once, those behind it together.
                if self.stop.wait(max(published + every_s - time.monotonic(), 0)):
                    break
                published = time.monotonic()
                if self._publish(tail).captured.behind_bytes > FAR_BYTES:
                    return False
            elif self._quiet(quiet_s, after_changes_s) and tail.caught_up():
                self.done.quiet = True
                break
        return True

    def _over(self, until: float) -> bool:
        return self.stop.is_set() or time.monotonic() > until

    def _quiet(self, quiet_s: float, after_changes_s: float) -> bool:
        return time.monotonic() - self._moved >= (after_changes_s if self.done.rows else quiet_s)

    def _behind_bytes(self, position: Position) -> int:
        return retention(self.settings, self.source).end - LogPosition.of(position).lsn

    def _publish(self, tail: Tail | None = None) -> Window:
        """One window; where there was nothing to publish, main is as it was."""
        window = publish_window(
            self.lake, self.settings, self.source, window_bytes=self.window_bytes, tail=tail
        )
        if window.published is None:
            return window
        self.done.windows += 1
        self.done.rows += window.captured.rows
        if window.captured.rows:
            self._moved = time.monotonic()
        self.heard(window)
        return window

    def _look(self, now: float) -> None:
        if now - self._looked >= RETENTION_EVERY_S:
            self._looked = now
            watch_retention(self.settings, self.source, run="follow")
