"""The steps of monitoring as Airflow's tasks run them: watch -> request_retraining, where there is reason."""

import hashlib
import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.orchestration import assets, publication
from include.orchestration.dry_run import is_dry_run
from include.orchestration.moment import moment_of_run, parse_moment, pass_on
from include.settings import settings
from include.spec.feature import EVENT_TIMESTAMP
from include.spec.product import ModelProduct
from include.spec.refs import CommitRef, ModelRef, Monitored, Refused
from include.spec.verdict import Finding, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

    from include.evaluation.evaluate import Evaluation
    from include.lake import Lake
    from include.monitoring.drift import DriftReport
    from include.monitoring.findings import Findings
    from include.registry.bundle import Predictor
    from include.release.manifest import Manifest

FEATURES = "features"
RETRAIN = "request_retraining"
LEAST_MATURED_ROWS = 100

logger = logging.getLogger(__name__)


class Monitoring:
    """The steps for one product.

    Args:
        product: Whose champion is watched.
    """

    def __init__(self, product: ModelProduct) -> None:
        self.product = product
        self.flow = f"monitor__{product.name}"

    def watch(self, run_id: str | None = None, params: Mapping[str, Any] | None = None) -> str | None:
        """Measure drift and matured performance, publish what was found, and name what follows.

        Pushes `monitored`; in a dry run, only logs what was found.

        Raises:
            AirflowSkipException: There is no champion, or it has predicted nothing yet.
        """
        from include.features.points import newest_moment
        from include.lake import Lake, checkout
        from include.orchestration.lineage import load_released
        from include.registry.store import Registry

        assert run_id is not None, "Airflow gives it"
        lake, registry = Lake.connect(settings()), Registry.connect(settings())
        model = registry.champion(self.product.name)
        if model is None:
            raise AirflowSkipException(f"{self.product.name} has no champion yet.")
        predictor, manifest = load_released(lake, registry, model)
        at = lake.head()
        with checkout(lake, at, FEATURES) as held:
            features = held.path(FEATURES)
            moment = moment_of_run(newest_moment(features))
            predicted = self._predictions(lake, at, model, moment)
            drift = self._drift(lake, predictor, predicted)
            matured = self._matured(features, predicted, moment)
        findings = self._findings(model, manifest, moment, drift, matured)
        for reason in findings.decision.reasons:
            logger.info("retrain: %s", reason)
        if is_dry_run(params):
            logger.info("%s", findings.to_json().decode())
            return None
        published = self._publish(lake, publication.attempt_of(run_id), findings)
        monitored = _reference(self.product, model, findings, published)
        publication.push("monitored", monitored)
        return RETRAIN if monitored.retrain else None

    def request_retraining(self, monitored: Monitored) -> None:
        """Emit the asset's event that starts a training as of the same moment, with the reasons."""
        asset = assets.retrain_request(self.product.name)
        get_current_context()["outlet_events"][asset].extra["reasons"] = list(monitored.reasons)
        pass_on(asset, parse_moment(monitored.as_of))

    def _predictions(self, lake: "Lake", at: CommitRef, model: ModelRef, moment: datetime) -> "pa.Table":
        """All that the champion predicted up to the moment; of a point that was scored twice, the last."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        from include.lake import checkout
        from include.lake.errors import UnknownPath
        from include.serving import batch

        prefix = batch.predictions_prefix(self.product.name)
        try:
            with checkout(lake, at, prefix) as held:
                table = pq.read_table(held.path(prefix), partitioning=None)
        except UnknownPath as error:
            raise AirflowSkipException(f"{self.product.name} has predicted nothing yet.") from error
        mine = pc.and_(
            pc.equal(table[batch.MODEL_VERSION], model.version),
            pc.less_equal(table[batch.PREDICTED_AT], moment),
        )
        chosen = table.filter(mine)
        if chosen.num_rows == 0:
            raise AirflowSkipException(f"Version {model.version} has predicted nothing as of {moment}.")
        return chosen

    def _drift(self, lake: "Lake", predictor: "Predictor", predicted: "pa.Table") -> "DriftReport":
        """The newest batch against the reference, on the inputs that it was made from."""
        import numpy as np
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        from include.features.training_set import pin_scoring_set
        from include.lake import checkout
        from include.monitoring.drift import measure_drift
        from include.serving import batch

        newest = pc.max(predicted[batch.PREDICTED_AT])
        rows = predicted.filter(pc.equal(predicted[batch.PREDICTED_AT], newest))
        commit = CommitRef(lake.repository, rows[batch.FEATURE_COMMIT][0].as_py())
        with TemporaryDirectory() as made, checkout(lake, commit, FEATURES) as held:
            pinned = pin_scoring_set(self.product, held.path(FEATURES), newest.as_py(), Path(made))
            inputs = pq.read_table(pinned.rows)
        return measure_drift(self.product.drift, predictor, inputs, np.asarray(predictor.predict(inputs)))

    def _matured(self, features: Path, predicted: "pa.Table", moment: datetime) -> "pa.Table":
        """Predictions joined with the truths that have become known since."""
        from include.features.points import matured_labels
        from include.serving import batch

        keys = [*self.product.entity, EVENT_TIMESTAMP]
        latest = predicted.sort_by([(batch.PREDICTED_AT, "ascending")]).group_by(keys, use_threads=False)
        scores = latest.aggregate([(batch.SCORE, "last")])
        labels = matured_labels(self.product, features, moment)
        return scores.join(labels.cast(_like(labels, scores, keys)), keys=keys, join_type="inner")

    def _findings(
        self,
        model: ModelRef,
        manifest: "Manifest",
        moment: datetime,
        drift: "DriftReport",
        matured: "pa.Table",
    ) -> "Findings":
        from include.evaluation.metrics import HIGHER_IS_BETTER
        from include.monitoring.findings import Findings
        from include.monitoring.retraining import Facts, decide_retraining

        primary = self.product.gate.primary
        evaluation = self._performance(matured) if matured.num_rows >= LEAST_MATURED_ROWS else None
        facts = Facts(
            as_of=moment,
            trained_as_of=manifest.as_of,
            drift_breach=drift.breach,
            performance_at_release=manifest.metrics[primary].value,
            performance_now=None if evaluation is None else evaluation.metrics[primary].value,
            higher_is_better=HIGHER_IS_BETTER[primary],
        )
        return Findings(
            product=self.product.name,
            model_version=model.version,
            as_of=moment,
            drift=drift,
            matured_rows=matured.num_rows,
            performance=None if evaluation is None else evaluation.to_json(),
            decision=decide_retraining(self.product.retrain, self.product.drift, facts),
        )

    def _performance(self, matured: "pa.Table") -> "Evaluation":
        import numpy as np

        from include.evaluation.bootstrap import entity_index
        from include.evaluation.evaluate import evaluate
        from include.serving import batch

        gate = self.product.gate.model_copy(update={"slices": ()})
        truth = matured["label"].cast("float64").to_numpy()
        scores = matured[f"{batch.SCORE}_last"].to_numpy()
        entities = entity_index(np.asarray(matured[self.product.entity[0]]))
        return evaluate(gate, self.product.train.objective, matured, truth, scores, entities)

    def _publish(self, lake: "Lake", run_id: str, findings: "Findings") -> CommitRef:
        from include.lake import publish, upload
        from include.monitoring.findings import findings_path

        path = findings_path(self.product.name, findings.as_of)
        document = findings.to_json()

        def write(draft: Any) -> None:
            with TemporaryDirectory() as made:
                file = Path(made) / Path(path).name
                file.write_bytes(document)
                upload(lake, draft, [file], str(Path(path).parent))

        published = publish(
            lake,
            run_id,
            self.flow,
            write=write,
            audit=lambda _: _audit(path, findings),
            message=f"Monitor {self.product.name} as of {findings.as_of.isoformat()}",
            metadata={"product": self.product.name, "model_version": findings.model_version},
        )
        if isinstance(published, Refused):
            raise AirflowFailException(f"The findings were refused: {published.verdict.findings}")
        return published.commit


def _audit(path: str, findings: "Findings") -> Verdict:
    """The gate of findings: they measured something, and a breach is never without its reason."""
    decision, drift = findings.decision, findings.drift
    rules = {
        "drift was measured on rows": drift is not None and drift.rows > 0,
        "every column has shares": drift is not None and all(column.current for column in drift.columns),
        "a request names its reasons": decision.retrain == bool(decision.reasons),
    }
    suite_hash = hashlib.sha256("\n".join(rules).encode()).hexdigest()
    broken = tuple(Finding(path, rule, "no") for rule, holds in rules.items() if not holds)
    return Verdict(not broken, suite_hash, len(rules), broken)


def _like(labels: "pa.Table", scores: "pa.Table", keys: list[str]) -> "pa.Schema":
    """The labels' schema with the keys typed as those of the scores, which a join asks for."""
    import pyarrow as pa

    typed = {key: scores.schema.field(key).type for key in keys}
    return pa.schema([pa.field(field.name, typed.get(field.name, field.type)) for field in labels.schema])


def _reference(
    product: ModelProduct, model: ModelRef, findings: "Findings", published: CommitRef
) -> Monitored:
    primary = product.gate.primary
    performance = findings.performance
    return Monitored(
        product=product.name,
        model=model,
        as_of=findings.as_of.isoformat(),
        share_drifted=findings.drift.share_drifted if findings.drift else 0.0,
        drift_breach=findings.drift.breach if findings.drift else False,
        matured_rows=findings.matured_rows,
        performance=None if performance is None else performance["metrics"][primary]["value"],
        retrain=findings.decision.retrain,
        reasons=findings.decision.reasons,
        published=published,
    )
