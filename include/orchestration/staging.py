"""The steps that build staged tables as Airflow's tasks run them: build -> gate -> publish | refuse."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.orchestration import assets, publication
from include.orchestration.moment import asked_moment, pass_on
from include.settings import settings
from include.spec.refs import DraftRef, Judged, Staged
from include.spec.source import Source


class TableStaging:
    """The steps for the captured tables of one source.

    Args:
        source: Declares a capture.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.flow = f"stage_tables__{source.name}"

    def build(self, run_id: str | None = None) -> DraftRef:
        """Bring current state and history of all tables to what main's change logs say; pushes `staged`.

        Raises:
            AirflowFailException: A change log is not what it must be, which no retry can mend.
        """
        from include.features.errors import StagingError
        from include.features.staged import stage_source
        from include.lake import Lake, open_draft

        assert run_id is not None, "Airflow gives it"
        lake = Lake.connect(settings())
        draft = open_draft(lake, publication.attempt_of(run_id), self.flow, restart=True)
        try:
            staged = stage_source(lake, settings(), draft, self.source)
        except StagingError as error:
            raise AirflowFailException(str(error)) from error
        publication.push("staged", staged)
        return draft

    def gate(self, draft: DraftRef, staged: Staged, params: Mapping[str, Any] | None = None) -> str | None:
        """Judge all tables as the draft holds them, and name the step that follows; pushes `judged`.

        Raises:
            AirflowSkipException: No table has a change log yet.
            AirflowFailException: A suite is missing or broken, which no retry can mend.
        """
        if not staged.tables:
            raise AirflowSkipException(f"Nothing of {self.source.name} was captured yet.")
        # Without a change the draft must stay equal to main, or there would be a commit about nothing.
        evidence = f"staged/{self.source.name}/_gate" if staged.changed else None
        judged = publication.judge(draft, {table: table for table in staged.tables}, evidence)
        return publication.next_step(judged, params)

    def publish(self, draft: DraftRef, staged: Staged, judged: Judged) -> None:
        """Put all tables on main in one commit; pushes `published`.

        Raises:
            AirflowSkipException: Main held the same already: nothing downstream has reason to run.
        """
        metadata = {"source": self.source.name, "data_commit": staged.data.commit}
        message = f"Stage {self.source.name}: {len(staged.tables)} tables"
        published = publication.publish(draft, judged, message, metadata)
        if not published.changed:
            raise AirflowSkipException(f"Nothing changed: main stays at {published.commit.commit}.")
        pass_on(assets.staged(self.source), asked_moment(get_current_context()))

    def refuse(self, draft: DraftRef, judged: Judged) -> None:
        """Keep what did not pass on its branch, and fail."""
        publication.refuse(draft, judged)
