"""The steps of change data capture as Airflow's tasks run them.

begin -> open_draft -> capture -> gate -> publish | refuse, one window of the log; or begin -> follow, many.

Heavy packages are imported by the steps and never by the module: the DAG processor reads it all the time.
"""

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param, get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.orchestration import assets, publication
from include.orchestration.dry_run import is_dry_run
from include.orchestration.moment import asked_moment, pass_on
from include.settings import settings
from include.spec.refs import Captured, DraftRef, Judged
from include.spec.source import Source

CONTINUOUS = "continuous"
FOLLOW, OPEN_DRAFT = "follow", "open_draft"
ON_AND_ON = "@continuous"

logger = logging.getLogger(__name__)


def continuous_param(source: Source) -> dict[str, Param]:
    """The form's switch between one window and following."""
    following = source.capture is not None and source.capture.schedule == ON_AND_ON
    text = "Follow the changes as they come, instead of publishing those that there are and ending"
    return {CONTINUOUS: Param(following, type="boolean", title="Continuous", description=text)}


class ChangeCapture:
    """The steps for one source; what they return and push to XCom are references and verdicts only.

    Args:
        source: What is captured.
    """

    def __init__(self, source: Source) -> None:
        assert source.capture is not None, source.name
        self.source = source
        self.flow = f"ingest_cdc__{source.name}"

    def begin(self, params: Mapping[str, Any] | None = None) -> str | None:
        """Let the slot follow main, look at the log that is kept for us, and name the step that comes next.

        None, which ends the run, where main has all changes that there are.
        """
        from include.ingestion.cdc import confirm, watching
        from include.lake import Lake
        from include.orchestration.following import watch_retention

        lake = Lake.connect(settings())
        position = confirm(lake, settings(), self.source)
        if position is not None:
            watch_retention(settings(), self.source, run=get_current_context()["dag_run"].run_id)
        if is_dry_run(params):
            return OPEN_DRAFT
        if (params or {}).get(CONTINUOUS):
            return FOLLOW
        if position is None:
            return OPEN_DRAFT
        with watching(settings(), self.source) as watch:
            return OPEN_DRAFT if watch.pending(position) else None

    def open_draft(self, run_id: str | None = None) -> DraftRef:
        """The run's own branch of main; a retry gets the same."""
        from include.lake import Lake, open_draft

        assert run_id is not None, "Airflow gives it"
        return open_draft(Lake.connect(settings()), publication.attempt_of(run_id), self.flow, restart=True)

    def capture(self, draft: DraftRef) -> Captured:
        """Write the next changes, and how far they go, onto the draft; the slot stays where it is.

        Raises:
            AirflowFailException: A table has changed its shape and its capture says to stop.
        """
        from include.ingestion.batch import Desk
        from include.ingestion.cdc import capture
        from include.ingestion.contracts import ContractError
        from include.lake import Lake

        try:
            return capture(Desk(Lake.connect(settings()), settings(), draft, self.source))
        except ContractError as error:
            raise AirflowFailException(str(error)) from error

    def gate(
        self, draft: DraftRef, captured: Captured, params: Mapping[str, Any] | None = None
    ) -> str | None:
        """Judge the changes that the draft adds, and name the step that follows; pushes `judged`.

        Raises:
            AirflowFailException: The suite is missing or broken, which no retry can mend.
        """
        import time

        from include.ingestion.batch import peak_memory_bytes
        from include.lake import Lake
        from include.validation.changes import TABLE, evidence_folder, judge_changes
        from include.validation.suite import SuiteError

        started = time.monotonic()
        lake, name = Lake.connect(settings()), self.source.name
        try:
            verdict = judge_changes(lake, settings(), draft, name, evidence=captured.changed)
        except SuiteError as error:
            raise AirflowFailException(str(error)) from error
        judged = Judged(verdict, time.monotonic() - started, peak_memory_bytes())
        evidence = evidence_folder(name) if captured.changed else None
        publication.push("judged", judged)
        publication.push("scope", {"tables": [TABLE], "evidence": evidence})
        return publication.next_step(judged, params)

    def publish(self, draft: DraftRef, captured: Captured, judged: Judged) -> None:
        """Put changes, position and verdict on main in one commit, then let the slot follow.

        Raises:
            AirflowSkipException: There were no changes: nothing downstream has reason to run.
        """
        from include.ingestion.cdc import confirm
        from include.ingestion.connectors.postgres_slot import SlotInUse
        from include.lake import Lake
        from include.orchestration.following import message_of, metadata_of

        published = publication.publish(draft, judged, message_of(captured), metadata_of(captured))
        try:
            confirm(Lake.connect(settings()), settings(), self.source)
        except SlotInUse as error:
            # Main has the changes: who follows finds its position there, and moves the slot.
            logger.warning("Published; the slot moves later: %s", error)
        if not published.changed or not captured.rows:
            raise AirflowSkipException(f"No changes: main is at {published.commit.commit}.")
        pass_on(assets.changes(self.source), asked_moment(get_current_context()))

    def refuse(self, draft: DraftRef, judged: Judged) -> None:
        """Keep what did not pass on its branch, and fail; pushes `refused`."""
        publication.refuse(draft, judged)
