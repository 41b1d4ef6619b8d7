"""The steps of a training as Airflow's tasks run them: pin -> fit -> judge -> release | stop."""

import logging
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from include.orchestration import assets, publication
from include.orchestration.dry_run import is_dry_run
from include.orchestration.moment import moment_of_run, parse_moment, pass_on
from include.settings import settings
from include.spec.product import ModelProduct
from include.spec.refs import CandidateRef, JudgedCandidate, ModelRef, Refused, TrainingSetRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from include.evaluation.bootstrap import Comparison
    from include.evaluation.evaluate import Evaluation
    from include.registry.store import Registry

FEATURES = "features"
RELEASE, STOP = "release", "stop"
EVALUATION = "evaluation.json"

logger = logging.getLogger(__name__)


class Training:
    """The steps for one product.

    Args:
        product: What is trained.
    """

    def __init__(self, product: ModelProduct) -> None:
        self.product = product
        self.flow = f"train__{product.name}"

    def pin(self, run_id: str | None = None) -> TrainingSetRef:
        """Pin what can be learnt as of the run's moment, and publish it under the hash of its content.

        Raises:
            AirflowFailException: There is not enough to learn from, which no retry can mend.
        """
        from include.features.audit import audit_training_set
        from include.features.errors import TrainingSetError
        from include.features.points import newest_moment
        from include.features.training_set import pin_training_set
        from include.lake import Lake, checkout, publish, upload
        from include.orchestration.lineage import newest_features

        assert run_id is not None, "Airflow gives it"
        lake = Lake.connect(settings())
        at = newest_features(lake, self.product.source)
        with TemporaryDirectory() as made, checkout(lake, at, FEATURES) as held:
            features = held.path(FEATURES)
            moment = moment_of_run(newest_moment(features))
            try:
                pinned = pin_training_set(self.product, features, moment, Path(made), commit=at.commit)
            except TrainingSetError as error:
                raise AirflowFailException(str(error)) from error
            prefix = f"training_sets/{self.product.name}/{pinned.id}"
            published = publish(
                lake,
                publication.attempt_of(run_id),
                self.flow,
                write=lambda draft: upload(lake, draft, pinned.folder, prefix),
                audit=lambda _: audit_training_set(pinned, prefix),
                message=f"Pin training set {pinned.id} of {self.product.name} as of {moment.isoformat()}",
                metadata={"product": self.product.name, "feature_commit": at.commit},
            )
        if isinstance(published, Refused):
            raise AirflowFailException(f"The training set was refused: {published.verdict.findings}")
        logger.info("rows: %s", pinned.document["rows"])
        return TrainingSetRef(self.product.name, pinned.id, published.commit, prefix, at, moment.isoformat())

    def fit(self, training_set: TrainingSetRef, run_id: str | None = None) -> CandidateRef:
        """Fit a candidate and keep it in the registry's run of this DAG run.

        Raises:
            AirflowFailException: The training set cannot teach, which no retry can mend.
        """
        from include.registry.store import HARDWARE_CLASS, Registry
        from include.training.errors import TrainingError
        from include.training.fit import fit_candidate

        assert run_id is not None, "Airflow gives it"
        registry = Registry.connect(settings())
        with self._rows(training_set) as (rows, document), TemporaryDirectory() as made:
            try:
                candidate = fit_candidate(
                    self.product.train,
                    rows,
                    label="label",
                    features=[feature["name"] for feature in document["features"]],
                    folder=Path(made),
                    report=lambda step: logger.info(
                        "step %s: train %.5f, validation %.5f",
                        step.number,
                        step.train_loss,
                        step.validation_loss,
                    ),
                )
            except TrainingError as error:
                raise AirflowFailException(str(error)) from error
            return registry.log_candidate(
                self.product.name,
                f"{self.flow}/{publication.attempt_of(run_id)}",
                candidate.folder,
                candidate.digest,
                params={**candidate.training["config"], "rounds_kept": candidate.training["rounds"]},
                curve=[
                    (step.number, {"train_loss": step.train_loss, "validation_loss": step.validation_loss})
                    for step in candidate.curve
                ],
                tags={
                    "headrace.training_set_id": training_set.id,
                    "headrace.feature_commit": training_set.features_at.commit,
                    "headrace.as_of": training_set.as_of,
                    HARDWARE_CLASS: candidate.training["hardware_class"],
                },
            )

    def judge(
        self,
        training_set: TrainingSetRef,
        candidate: CandidateRef,
        params: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Evaluate on the untouched test rows, compare with the champion there, and name what follows.

        A candidate that does not pass is a result, not a failure; pushes `judged`. After a dry run nothing
        follows.
        """
        from dataclasses import asdict

        from include.evaluation.gate import judge_candidate
        from include.registry.store import Registry

        registry = Registry.connect(settings())
        champion = registry.champion(self.product.name)
        with self._rows(training_set) as (rows, document):
            evaluation, comparison = self._evaluated(registry, rows, candidate, champion)
        verdict = judge_candidate(self.product.name, self.product.gate, evaluation, comparison)
        findings = {
            "evaluation": evaluation.to_json(),
            "comparison": None if comparison is None else asdict(comparison),
            "champion_version": champion.version if champion else "",
            "verdict": asdict(verdict),
            "training_set": {key: value for key, value in document.items() if key != "columns"},
        }
        registry.write_document(candidate.run_id, EVALUATION, findings)
        registry.log_metrics(
            candidate.run_id, {f"test_{name}": found.value for name, found in evaluation.metrics.items()}
        )
        primary = evaluation.metrics[self.product.gate.primary]
        logger.info(
            "%s %.4f [%.4f, %.4f]", self.product.gate.primary, primary.value, primary.low, primary.high
        )
        for finding in verdict.findings:
            logger.info("%s: %s: %s", finding.severity, finding.rule, finding.observed)
        version = champion.version if champion else ""
        publication.push("judged", JudgedCandidate(candidate, training_set, verdict, primary.value, version))
        if is_dry_run(params):
            registry.finish(candidate.run_id)
            return None
        return RELEASE if verdict.passed else STOP

    def release(self, judged: JudgedCandidate, run_id: str | None = None) -> ModelRef:
        """Register the candidate, write and sign its manifest, and make it the champion; in this order.

        Each step is found done when it is tried again, and the champion's alias moves last: a version serves
        only if its manifest is in the lake.
        """
        from include.orchestration.lineage import release_candidate

        assert run_id is not None, "Airflow gives it"
        model = release_candidate(self.product, judged, f"{self.flow}/{publication.attempt_of(run_id)}")
        pass_on(assets.champion(self.product.name), parse_moment(judged.training_set.as_of))
        return model

    def stop(self, judged: JudgedCandidate) -> None:
        """Close the run of a candidate that did not pass; the champion stays, and that is a good result."""
        from include.registry.store import Registry

        registry = Registry.connect(settings())
        registry.finish(judged.candidate.run_id)
        worst = "; ".join(f"{found.rule}: {found.observed}" for found in judged.verdict.findings)
        logger.info("The champion stays: %s", worst)

    def _evaluated(
        self, registry: "Registry", rows: "pa.Table", candidate: CandidateRef, champion: ModelRef | None
    ) -> tuple["Evaluation", "Comparison | None"]:
        import numpy as np
        import pyarrow.compute as pc

        from include.evaluation.bootstrap import compare, entity_index
        from include.evaluation.evaluate import evaluate
        from include.evaluation.importance import permutation_importance

        test = rows.filter(pc.equal(rows["split"], "test"))
        truth = test["label"].cast("float64").to_numpy()
        entities = entity_index(np.asarray(test[self.product.entity[0]]))
        model = registry.load(candidate)
        scores = model.predict(test)
        gate = self.product.gate
        inputs = [column.name for column in model.schema.columns]
        importance = permutation_importance(model.predict, inputs, test, truth, gate.primary)
        evaluation = evaluate(gate, self.product.train.objective, test, truth, scores, entities, importance)
        if champion is None or champion.run_id == candidate.run_id:
            return evaluation, None
        theirs = registry.load(champion).predict(test)
        rule = gate.better_than_champion
        return evaluation, compare(rule, gate.primary, truth, scores, theirs, entities)

    @contextmanager
    def _rows(self, training_set: TrainingSetRef) -> "Iterator[tuple[pa.Table, dict[str, Any]]]":
        """Rows and document of a training set, by its commit."""
        import json

        import pyarrow.parquet as pq

        from include.features.training_set import ROWS_FILE, TRAINING_DOCUMENT
        from include.lake import Lake, checkout

        lake = Lake.connect(settings())
        with checkout(lake, training_set.at, training_set.prefix) as held:
            folder = held.path(training_set.prefix)
            yield pq.read_table(folder / ROWS_FILE), json.loads((folder / TRAINING_DOCUMENT).read_text())
