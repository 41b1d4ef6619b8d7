"""The steps of a feature build as Airflow's tasks run them: build -> gate -> publish | refuse."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.orchestration import assets, publication
from include.orchestration.moment import asked_moment, pass_on
from include.settings import settings
from include.spec.refs import Built, CommitRef, DraftRef, Judged
from include.spec.source import Source

FEATURES = "features"

logger = logging.getLogger(__name__)


class FeatureBuilding:
    """The steps for the feature tables that follow from one source.

    Args:
        source: Whose raw tables they are built from.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.flow = f"build_features__{source.name}"

    def build(self, run_id: str | None = None) -> DraftRef:
        """Build all tables at the newest commit in one dbt invocation, onto the run's draft; pushes `built`.

        How each model and test went is kept for the web server's pages, of a failed build, too.

        Raises:
            AirflowFailException: A model or a test failed, which no retry can mend.
        """
        from include.features.build import build_features
        from include.features.errors import FeatureBuildError
        from include.features.raw import raw_checkout
        from include.features.results import BuildResults, keep_results
        from include.lake import Lake, open_draft, replace_tables

        assert run_id is not None, "Airflow gives it"
        lake = Lake.connect(settings())
        keep = partial(keep_results, settings().home, self.flow, run_id)
        draft = open_draft(lake, publication.attempt_of(run_id), self.flow, restart=True)
        data = CommitRef(lake.repository, draft.base)
        with TemporaryDirectory() as made, raw_checkout(lake, data, self.source.name) as raw:
            output = Path(made)
            try:
                built = build_features(
                    raw, output, source=self.source.name, docs=settings().home / "dbt_docs"
                )
            except FeatureBuildError as error:
                keep(BuildResults(self.source.name, data.commit, 0.0, error.results, str(error)))
                raise AirflowFailException(str(error)) from error
            replaced = replace_tables(lake, draft, output, FEATURES, self.source.name)
        for table in replaced.retired:
            logger.info("%s/%s is made no more, and leaves main with this commit.", FEATURES, table)
        keep(BuildResults(self.source.name, data.commit, built.seconds, built.results))
        publication.push(
            "built",
            Built(
                self.source.name,
                data,
                tuple(table.prefix for table in built.tables),
                built.manifest_hash,
                built.seconds,
                replaced.changed,
            ),
        )
        return draft

    def gate(self, draft: DraftRef, built: Built, params: Mapping[str, Any] | None = None) -> str | None:
        """Judge all tables as the draft holds them, and name the step that follows; pushes `judged`."""
        # Without a change the draft must stay equal to main, or there would be a commit about nothing.
        evidence = f"{FEATURES}/_gate" if built.changed else None
        judged = publication.judge(draft, {table: table for table in built.tables}, evidence)
        return publication.next_step(judged, params)

    def publish(self, draft: DraftRef, built: Built, judged: Judged) -> None:
        """Put all tables on main in one commit; pushes `published`.

        Raises:
            AirflowSkipException: Main held the same already: nothing downstream has reason to run.
        """
        metadata = {
            "source": self.source.name,
            "data_commit": built.data.commit,
            "dbt_manifest_hash": built.manifest_hash,
        }
        message = f"Build features of {self.source.name}: {len(built.tables)} tables"
        published = publication.publish(draft, judged, message, metadata)
        if not published.changed:
            raise AirflowSkipException(f"Nothing changed: main stays at {published.commit.commit}.")
        pass_on(assets.features(self.source.name), asked_moment(get_current_context()))

    def refuse(self, draft: DraftRef, judged: Judged) -> None:
        """Keep what did not pass on its branch, and fail."""
        publication.refuse(draft, judged)
