"""The steps of a batch scoring as Airflow's tasks run them: score -> gate -> publish | refuse."""

import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from include.orchestration import assets, publication
from include.orchestration.moment import moment_of_run, parse_moment, pass_on
from include.settings import settings
from include.spec.feature import EVENT_TIMESTAMP
from include.spec.product import ModelProduct
from include.spec.refs import DraftRef, Judged, Scored

FEATURES = "features"

logger = logging.getLogger(__name__)


class Scoring:
    """The steps for one product.

    Args:
        product: Whose champion scores.
    """

    def __init__(self, product: ModelProduct) -> None:
        self.product = product
        self.flow = f"score__{product.name}"

    def score(self, run_id: str | None = None) -> DraftRef:
        """Score what is open as of the run's moment, at the newest features, onto the run's draft.

        The champion is loaded only if the signed manifest names its bytes; pushes `scored`.

        Raises:
            AirflowSkipException: There is no champion yet, or nothing to predict.
        """
        import pyarrow.parquet as pq

        from include.features.points import newest_moment
        from include.features.training_set import pin_scoring_set
        from include.lake import Lake, checkout, open_draft, upload
        from include.orchestration.lineage import load_released, newest_features
        from include.registry.store import Registry
        from include.serving import batch

        assert run_id is not None, "Airflow gives it"
        lake, registry = Lake.connect(settings()), Registry.connect(settings())
        model = registry.champion(self.product.name)
        if model is None:
            raise AirflowSkipException(f"{self.product.name} has no champion yet.")
        predictor, _ = load_released(lake, registry, model)
        draft = open_draft(lake, publication.attempt_of(run_id), self.flow, restart=True)
        at = newest_features(lake, self.product.source)
        with TemporaryDirectory() as made, checkout(lake, at, FEATURES) as held:
            moment = moment_of_run(newest_moment(held.path(FEATURES)))
            pinned = pin_scoring_set(
                self.product, held.path(FEATURES), moment, Path(made) / "rows", commit=at.commit
            )
            rows = pq.read_table(pinned.rows)
            if rows.num_rows == 0:
                raise AirflowSkipException(f"Nothing is open as of {moment.isoformat()}.")
            keys = (*self.product.entity, EVENT_TIMESTAMP)
            scores = batch.score(predictor, model, rows, keys=keys, features_at=at, as_of=moment)
            file = batch.write(scores, Path(made), moment)
            upload(lake, draft, [file], batch.predictions_prefix(self.product.name))
        logger.info("%s predictions by version %s as of %s", len(scores), model.version, moment)
        publication.push("scored", Scored(self.product.name, model, at, moment.isoformat(), len(scores)))
        return draft

    def gate(self, draft: DraftRef, params: Mapping[str, Any] | None = None) -> str | None:
        """Judge all predictions as the draft holds them, and name the step that follows; pushes `judged`."""
        from include.serving.batch import predictions_prefix

        table = predictions_prefix(self.product.name)
        return publication.next_step(publication.judge(draft, {table: table}, None), params)

    def publish(self, draft: DraftRef, scored: Scored, judged: Judged) -> None:
        """Put the predictions on main in one commit; pushes `published`.

        Raises:
            AirflowSkipException: Main held the same already.
        """
        metadata = {
            "product": scored.product,
            "model_version": scored.model.version,
            "model_digest": scored.model.digest,
            "feature_commit": scored.features_at.commit,
            "rows": str(scored.rows),
        }
        message = f"Predict {scored.product} as of {scored.as_of}: {scored.rows} rows"
        published = publication.publish(draft, judged, message, metadata)
        if not published.changed:
            raise AirflowSkipException(f"Nothing changed: main stays at {published.commit.commit}.")
        pass_on(assets.predictions(self.product.name), parse_moment(scored.as_of))

    def refuse(self, draft: DraftRef, judged: Judged) -> None:
        """Keep what did not pass on its branch, and fail."""
        publication.refuse(draft, judged)
