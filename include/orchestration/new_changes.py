"""Following changes as a task: at work while there are any, deferred while none come, which costs no worker.

The triggerer asks the database whether anything was committed that the publication brings, and wakes the
task.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from include.orchestration import assets
from include.orchestration.moment import asked_moment, pass_on
from include.settings import settings
from include.spec.errors import HeadraceError
from include.spec.refs import Position
from include.spec.source import Source

# A run ends after so long, or after so long without changes behind some: then others hear of them, by the
# asset, and the next run follows on. Starting anew costs seconds in which changes wait, so not too often.
RUN_FOR = timedelta(minutes=20)
QUIET_AFTER_CHANGES = timedelta(minutes=1)
# A task that has seen none keeps its place for so long before it gives it up to others.
QUIET_BEFORE_DEFERRAL = timedelta(minutes=5)
DEFERRED_FOR = timedelta(minutes=20)
POLL_S = 1.0


class NewChanges(BaseTrigger):
    """Fires when something was committed that a capture brings, or the time is over.

    Args:
        source: Name of the source.
        dsn: Name of the setting that holds the connection string, which itself is kept nowhere.
        publication: Of the capture.
        slot: Of the capture.
        for_s: How long to wait.
        poll_s: Between two looks.
    """

    def __init__(
        self, source: str, dsn: str, publication: str, slot: str, for_s: float, poll_s: float = POLL_S
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.source, self.dsn, self.publication, self.slot = source, dsn, publication, slot
        self.for_s, self.poll_s = for_s, poll_s

    @classmethod
    def of(cls, source: Source, for_s: float, poll_s: float = POLL_S) -> "NewChanges":
        """The trigger for a source that declares a capture."""
        capture = source.capture
        assert capture is not None, source.name
        return cls(source.name, capture.dsn, capture.publication, capture.slot, for_s, poll_s)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The path of the class, and its arguments."""
        names = ("source", "dsn", "publication", "slot", "for_s", "poll_s")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: `pending`, or the `error` that the task is to fail with."""
        try:
            told: dict[str, Any] = {"pending": await self._wait()}
        except HeadraceError as error:
            told = {"error": str(error)}
        yield TriggerEvent(told)  # type: ignore[no-untyped-call]

    async def _wait(self) -> bool:
        from include.ingestion.cdc import IDLE_BYTES
        from include.ingestion.connectors.postgres_slot import Feed
        from include.ingestion.connectors.postgres_watch import watching

        until = time.monotonic() + self.for_s
        dsn = getattr(settings(), self.dsn).get_secret_value()
        feed = Feed(dsn, self.dsn.removesuffix("_dsn"), self.publication, self.slot)
        # Lake and database are asked in threads: the triggerer has one loop for all that wait.
        position = await asyncio.to_thread(self._position)
        if position is None:
            return True
        with ExitStack() as until_the_end:
            opened = watching(feed, idle_bytes=IDLE_BYTES)
            watch = await asyncio.to_thread(until_the_end.enter_context, opened)
            while not await asyncio.to_thread(watch.pending, position):
                if time.monotonic() > until:
                    return False
                await asyncio.sleep(self.poll_s)
        return True

    def _position(self) -> Position | None:
        """How far main has the log; None before the first capture."""
        from include.lake import Lake, read_watermark

        lake = Lake.connect(settings())
        watermark = read_watermark(lake, lake.head(), self.source)
        return next((one for one in watermark.positions if one.kind == "lsn"), None) if watermark else None


class FollowChanges(BaseOperator):
    """Follows a source's changes until they pause, and defers while there are none.

    Args:
        source: What is captured.
        **task: What every task has.
    """

    def __init__(self, *, source: Source, **task: Any) -> None:
        super().__init__(**task)
        self._source = source
        self._stop = threading.Event()

    def execute(self, context: Any) -> None:
        """Publish changes as they come; ends so that others hear of them.

        Args:
            context: The run, as Airflow gives it.

        Raises:
            TaskDeferred: There were none for a while.
            AirflowFailException: A table has changed its shape, or the gate refused.
            HeadraceError: Anything else that went wrong; it is tried again.
        """
        rows = self._follow(QUIET_BEFORE_DEFERRAL)
        if not rows and not self._stop.is_set():
            trigger = NewChanges.of(self._source, DEFERRED_FOR.total_seconds())
            self.defer(trigger=trigger, method_name="woken", timeout=DEFERRED_FOR + timedelta(minutes=1))
        self._tell(context, rows)

    def woken(self, context: Any, event: Mapping[str, Any]) -> None:
        """Go on behind a deferral.

        Args:
            context: The run, as Airflow gives it.
            event: What the trigger said.

        Raises:
            AirflowSkipException: There were no changes.
            AirflowFailException, HeadraceError: As for `execute`.
        """
        if "error" in event:
            raise HeadraceError(str(event["error"]))
        self._tell(context, self._follow(QUIET_AFTER_CHANGES) if event["pending"] else 0)

    def on_kill(self) -> None:
        """End after the window that is being published."""
        self._stop.set()

    def _tell(self, context: Any, rows: int) -> None:
        if not rows:
            raise AirflowSkipException("No changes came.")
        pass_on(assets.changes(self._source), asked_moment(context))

    def _follow(self, quiet: timedelta) -> int:
        """Until nothing comes for so long; how many changes were published."""
        from include.ingestion.contracts import ContractError
        from include.lake import Lake
        from include.orchestration.following import Follower, RefusedChanges, Window

        def heard(window: Window) -> None:
            tables = ", ".join(f"{table} {rows:,}" for table, rows in window.captured.tables)
            self.log.info("%s (%.1f s)", tables or "position only", window.seconds)

        lake = Lake.connect(settings())
        follower = Follower(lake, settings(), self._source, heard, self._stop)
        try:
            followed = follower.follow(
                for_s=RUN_FOR.total_seconds(),
                quiet_s=quiet.total_seconds(),
                quiet_after_changes_s=QUIET_AFTER_CHANGES.total_seconds(),
            )
        except (ContractError, RefusedChanges) as error:
            raise AirflowFailException(str(error)) from error
        return followed.rows
