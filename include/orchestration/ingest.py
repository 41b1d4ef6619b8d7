"""The steps of a batch ingestion as Airflow's tasks run them, each in a process of its own.

open_draft -> land (one per origin) -> gate -> publish | refuse

Heavy packages are imported by the steps and never by the module: the DAG processor reads it all the time.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.orchestration import assets, publication
from include.orchestration.asked import asked
from include.orchestration.moment import asked_moment, pass_on
from include.settings import settings
from include.spec.refs import DraftRef, Judged, Landing
from include.spec.source import Source


class BatchIngestion:
    """The steps for one source; what they return and push to XCom are references and verdicts only.

    Args:
        source: What is ingested.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.flow = f"ingest_batch__{source.name}"

    def open_draft(self, run_id: str | None = None) -> DraftRef:
        """The run's own branch of main; a retry gets the same."""
        from include.lake import Lake, open_draft

        assert run_id is not None, "Airflow gives it"
        return open_draft(Lake.connect(settings()), publication.attempt_of(run_id), self.flow, restart=True)

    def land(self, draft: DraftRef, origin: str, params: Mapping[str, Any] | None = None) -> Landing:
        """Land the tables of one origin on the draft: what is new of them, or what the form asks for.

        Raises:
            AirflowFailException: The data breaks its contract, which no retry can mend.
        """
        from include.ingestion.batch import Desk, land
        from include.ingestion.contracts import ContractError
        from include.ingestion.spans import SpanError
        from include.lake import Lake

        get_current_context()["origin"] = origin  # type: ignore[typeddict-unknown-key]  # names the map index
        try:
            desk = Desk(Lake.connect(settings()), settings(), draft, self.source)
            return land(desk, origin, asked(params))
        except (ContractError, SpanError) as error:
            raise AirflowFailException(str(error)) from error

    def gate(
        self, draft: DraftRef, landings: Iterable[Landing], params: Mapping[str, Any] | None = None
    ) -> str | None:
        """Judge all tables as the draft holds them, and name the step that follows; pushes `judged`.

        Raises:
            AirflowFailException: A suite is missing or broken, which no retry can mend.
        """
        from include.ingestion.snapshot import FOLDER
        from include.validation.draft import EVIDENCE

        changed = any(table.changed for landing in landings for table in landing.tables)
        # Without a change the draft must stay equal to main, or there would be a commit about nothing.
        evidence = f"raw/{self.source.name}/{EVIDENCE}" if changed else None
        prefixes = [self.source.prefix(table.name) for table in self.source.tables]
        folders = {prefix: f"{prefix}/{FOLDER}" for prefix in prefixes}
        return publication.next_step(publication.judge(draft, folders, evidence), params)

    def publish(self, draft: DraftRef, landings: Iterable[Landing], judged: Judged) -> None:
        """Put data, watermark and verdict on main in one commit; pushes `published`.

        Raises:
            AirflowSkipException: Main held the same already: nothing downstream has reason to run.
        """
        from include.ingestion.batch import record_positions
        from include.ingestion.quarantine import balance_metadata

        read = list(landings)
        landed = [table for landing in read for table in landing.tables]
        names = ", ".join(table.table.rpartition("/")[2] for table in landed if table.changed)
        published = publication.publish(
            draft,
            judged,
            f"Ingest {self.source.name}: {names}",
            {
                "source": self.source.name,
                "rows": str(sum(table.rows for table in landed)),
                **balance_metadata(landed),
            },
            stage=lambda lake: record_positions(lake, draft, read),
        )
        if not published.changed:
            raise AirflowSkipException(f"Nothing changed: main stays at {published.commit.commit}.")
        pass_on(assets.raw(self.source), asked_moment(get_current_context()))

    def refuse(self, draft: DraftRef, judged: Judged) -> None:
        """Keep what did not pass on its branch, and fail; pushes `refused`."""
        publication.refuse(draft, judged)
