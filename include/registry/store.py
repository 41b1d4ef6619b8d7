"""The registry on MLflow: runs that hold candidates, versions with their lineage, and the champion's alias.

A run is found again by the key of the task that makes it, so a task that died and is tried again continues
its run rather than leaving a second one; a version is found again by its run.
"""

import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.registry.bundle import Predictor, load
from include.registry.errors import RegistryError
from include.settings import Settings
from include.spec.refs import CandidateRef, ModelRef

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
RUN_KEY = "headrace.run_key"
DIGEST = "headrace.digest"
MODEL_URI = "headrace.model_uri"
HARDWARE_CLASS = "headrace.hardware_class"
BUNDLE = "bundle"


@dataclass(frozen=True)
class Registry:
    """One MLflow server.

    Args:
        uri: Address of the server.
        client: Its client.
    """

    uri: str
    client: "MlflowClient"

    @staticmethod
    def connect(settings: Settings) -> "Registry":
        """A registry at `settings.mlflow_tracking_uri`; no request is made yet."""
        # Before the import, which reads it: no progress bars in task logs.
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        import mlflow

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
        return Registry(settings.mlflow_tracking_uri, mlflow.MlflowClient(settings.mlflow_tracking_uri))

    def find_candidate(self, product: str, run_key: str) -> CandidateRef | None:
        """The candidate that an earlier try of the same task has logged in full."""
        run = self._find_run(product, run_key)
        if run is None or DIGEST not in run.data.tags:
            return None
        tags = run.data.tags
        return CandidateRef(product, run.info.run_id, tags[MODEL_URI], tags[DIGEST])

    def log_candidate(
        self,
        product: str,
        run_key: str,
        bundle: Path,
        digest: str,
        *,
        params: Mapping[str, Any],
        curve: Sequence[tuple[int, Mapping[str, float]]] = (),
        tags: Mapping[str, str] | None = None,
    ) -> CandidateRef:
        """Logs a fitted bundle with its parameters and losses; the digest's tag comes last.

        Args:
            product: Experiment that the run belongs to.
            run_key: Name of the task's run; trying again with the same key continues the same run.
            bundle: Folder of the bundle.
            digest: The bundle's digest.
            params: What was fitted and how.
            curve: Step and losses, in order.
            tags: Lineage.
        """
        found = self.find_candidate(product, run_key)
        if found is not None and found.digest == digest:
            return found
        from mlflow.entities import Metric, Param, RunTag

        run_id = self._open_run(product, run_key)
        metrics = [Metric(name, value, 0, step) for step, losses in curve for name, value in losses.items()]
        parameters = [Param(name, str(value)) for name, value in params.items()]
        labels = [RunTag(name, value) for name, value in (tags or {}).items()]
        self.client.log_batch(run_id, metrics, parameters, labels)
        model_uri = self._log_bundle(run_id, bundle, digest)
        self.client.set_tag(run_id, MODEL_URI, model_uri)
        self.client.set_tag(run_id, DIGEST, digest)
        return CandidateRef(product, run_id, model_uri, digest)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Adds metrics to a run."""
        from mlflow.entities import Metric

        self.client.log_batch(run_id, [Metric(name, value, 0, 0) for name, value in metrics.items()])

    def write_document(self, run_id: str, name: str, document: Mapping[str, Any]) -> None:
        """Keeps a JSON document with a run, replacing one of the same name."""
        self.client.log_text(run_id, json.dumps(document, indent=1, sort_keys=True) + "\n", name)

    def read_document(self, run_id: str, name: str) -> dict[str, Any]:
        """Reads a JSON document of a run.

        Raises:
            RegistryError: The run has no such document.
        """
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as folder:
            try:
                path = self.client.download_artifacts(run_id, name, folder)
            except (MlflowException, OSError) as error:
                raise RegistryError(
                    f"The run has no document {name!r}.", remedy="Run the task that writes it.", run=run_id
                ) from error
            document: dict[str, Any] = json.loads(Path(path).read_text())
            return document

    def started_at(self, run_id: str) -> datetime:
        """When the run was started, UTC without a zone: the same whenever it is asked."""
        started_ms = self.client.get_run(run_id).info.start_time
        return datetime.fromtimestamp(started_ms / 1000, UTC).replace(tzinfo=None, microsecond=0)

    def hardware_class(self, run_id: str) -> str:
        """Device and machine kind that a run's candidate was fitted on."""
        return str(self.client.get_run(run_id).data.tags[HARDWARE_CLASS])

    def finish(self, run_id: str, *, failed: bool = False) -> None:
        """Ends a run."""
        self.client.set_terminated(run_id, "FAILED" if failed else "FINISHED")

    def register(self, candidate: CandidateRef, lineage: Mapping[str, str]) -> ModelRef:
        """Makes the candidate a version of its product, or finds the version that it already is.

        Args:
            candidate: A candidate that was logged in full.
            lineage: Tags of the version: commits, hashes, signer, manifest.
        """
        self._ensure_model(candidate.product)
        found = self.client.search_model_versions(
            f"name='{candidate.product}' and run_id='{candidate.run_id}'"
        )
        version = (
            found[0]
            if found
            else self.client.create_model_version(
                candidate.product,
                candidate.model_uri,
                run_id=candidate.run_id,
                model_id=candidate.model_uri.rsplit("/", 1)[-1],
            )
        )
        for name, value in {**lineage, DIGEST: candidate.digest}.items():
            self.client.set_model_version_tag(candidate.product, version.version, name, value)
        return ModelRef(candidate.product, str(version.version), candidate.run_id, candidate.digest)

    def tag_version(self, model: ModelRef, tags: Mapping[str, str]) -> None:
        """Adds tags to a version."""
        for name, value in tags.items():
            self.client.set_model_version_tag(model.product, model.version, name, value)

    def version_tags(self, model: ModelRef) -> dict[str, str]:
        """All tags of a version."""
        return dict(self.client.get_model_version(model.product, model.version).tags)

    def champion(self, product: str) -> ModelRef | None:
        """The version that serves, or nothing yet."""
        from mlflow.exceptions import MlflowException

        try:
            return _ref(product, self.client.get_model_version_by_alias(product, CHAMPION))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def versions(self, product: str) -> list[ModelRef]:
        """All versions of a product, newest first."""
        found = self.client.search_model_versions(f"name='{product}'")
        ordered = sorted(found, key=lambda version: int(version.version), reverse=True)
        return [_ref(product, version) for version in ordered]

    def promote(self, model: ModelRef) -> None:
        """Makes the version the champion; one alias is moved, so there is always exactly one."""
        self.client.set_registered_model_alias(model.product, CHAMPION, model.version)

    def load(self, model: CandidateRef | ModelRef) -> Predictor:
        """Loads a model whose bytes are proven against its digest.

        Raises:
            DigestMismatch: The artefact was changed.
            RefusedFormat: It is no bundle.
        """
        import mlflow

        uri = (
            model.model_uri
            if isinstance(model, CandidateRef)
            else self.client.get_model_version(model.product, model.version).source
        )
        with tempfile.TemporaryDirectory() as folder:
            path = mlflow.artifacts.download_artifacts(uri, dst_path=folder)
            return load(Path(path) / "data" / BUNDLE, expected_digest=model.digest)

    def _find_run(self, product: str, run_key: str) -> Any:
        experiment = self.client.get_experiment_by_name(product)
        if experiment is None:
            return None
        runs = self.client.search_runs(
            [experiment.experiment_id], f"tags.`{RUN_KEY}` = '{run_key}'", max_results=1
        )
        return runs[0] if runs else None

    def _open_run(self, product: str, run_key: str) -> str:
        found = self._find_run(product, run_key)
        if found is not None:
            self.client.update_run(found.info.run_id, status="RUNNING")
            return str(found.info.run_id)
        experiment = self.client.get_experiment_by_name(product)
        experiment_id = experiment.experiment_id if experiment else self.client.create_experiment(product)
        run = self.client.create_run(experiment_id, tags={RUN_KEY: run_key}, run_name=run_key)
        return str(run.info.run_id)

    def _ensure_model(self, product: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(product)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _log_bundle(self, run_id: str, bundle: Path, digest: str) -> str:
        import mlflow

        with tempfile.TemporaryDirectory() as folder, mlflow.start_run(run_id=run_id):
            named = Path(folder) / BUNDLE
            named.symlink_to(bundle.absolute(), target_is_directory=True)
            info = mlflow.pyfunc.log_model(
                name="model",
                loader_module="include.registry.pyfunc",
                data_path=str(named),
                pip_requirements=["headrace"],
                metadata={DIGEST: digest},
            )
            return str(info.model_uri)


def _ref(product: str, version: Any) -> ModelRef:
    return ModelRef(product, str(version.version), str(version.run_id), version.tags.get(DIGEST, ""))
