"""What the demo's report says of the products: read from the registry and the lake."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from include.demo.report.product_lines import (
    CandidateLine,
    ComparisonLine,
    DriftLine,
    MonitoringLine,
    PredictionLine,
    ProductLine,
    VersionLine,
    evaluation_line,
    metric_line,
)
from include.lake import Lake
from include.lake.history import LogEntry
from include.lake.objects import list_objects, read_bytes
from include.monitoring.findings import findings_path
from include.products import PRODUCTS
from include.release.errors import TamperedManifest
from include.release.manifest import Manifest, verify
from include.settings import Settings
from include.spec.product import ModelProduct
from include.spec.refs import CommitRef
from include.spec.verdict import Finding

if TYPE_CHECKING:
    from include.registry.store import Registry

EVALUATION = "evaluation.json"
ORIGINS = ("data_commit", "feature_commit", "training_set_commit", "training_set_id", "code_commit")


def product_lines(
    settings: Settings, lake: Lake, entries: Sequence[LogEntry], products: Sequence[ModelProduct] = PRODUCTS
) -> tuple[ProductLine, ...]:
    """All products as they are declared, whatever has become of them so far.

    Args:
        settings: Where the registry is, and the key that manifests are signed with.
        lake: Holds manifests and findings.
        entries: The commits of main.
        products: Those to tell of.
    """
    from include.registry.store import Registry

    registry = Registry.connect(settings)
    reader = _Reader(registry, lake, lake.head(), settings.signing_key.get_secret_value().encode())
    return tuple(reader.product(product, entries) for product in products)


@dataclass(frozen=True)
class _Reader:
    registry: "Registry"
    lake: Lake
    head: CommitRef
    key: bytes

    def product(self, product: ModelProduct, entries: Sequence[LogEntry]) -> ProductLine:
        manifests = dict(self._manifests(product.name))
        versions = tuple(self._versions(product.name, manifests))
        return ProductLine(
            name=product.name,
            description=product.description,
            owner=product.owner,
            model=product.train.kind,
            primary=product.gate.primary,
            drift_bound=product.drift.psi,
            versions=versions,
            candidates=tuple(self._candidates(product, versions)),
            predictions=tuple(_predictions(product.name, entries)),
            monitoring=tuple(self._monitoring(product, entries, manifests)),
        )

    def _manifests(self, product: str) -> Iterator[tuple[str, tuple[str, str, bool, Manifest | None]]]:
        """By version: path, signer, whether the signature holds, and what the manifest states."""
        for stat in list_objects(self.lake, self.head, f"releases/{product}"):
            document = read_bytes(self.lake, self.head, stat.path)
            try:
                manifest = verify(document, self.key)
            except TamperedManifest:
                yield stat.path.rpartition("/")[2].removesuffix(".json"), (stat.path, "", False, None)
            else:
                yield manifest.version, (stat.path, json.loads(document)["signer"], True, manifest)

    def _versions(
        self, product: str, manifests: Mapping[str, tuple[str, str, bool, Manifest | None]]
    ) -> Iterator[VersionLine]:
        champion = self.registry.champion(product)
        for model in self.registry.versions(product):
            path, signer, signed, manifest = manifests.get(model.version, ("", "", False, None))
            yield VersionLine(
                version=model.version,
                run_id=model.run_id,
                champion=champion is not None and champion.version == model.version,
                digest=model.digest,
                url=f"{self.registry.uri}/#/models/{product}/versions/{model.version}",
                manifest=path,
                signed=signed,
                signer=signer,
                tags=() if manifest is None else tuple((name, getattr(manifest, name)) for name in ORIGINS),
            )

    def _candidates(self, product: ModelProduct, versions: Sequence[VersionLine]) -> Iterator[CandidateLine]:
        """Those that were judged, oldest first."""
        from include.registry.store import DIGEST, RUN_KEY

        experiment = self.registry.client.get_experiment_by_name(product.name)
        if experiment is None:
            return
        number = {version.run_id: version.version for version in versions}
        runs = self.registry.client.search_runs(
            [experiment.experiment_id], order_by=["attributes.start_time ASC"]
        )
        for run in runs:
            run_id = run.info.run_id
            if DIGEST not in run.data.tags or not self._is_judged(run_id):
                continue
            yield _candidate(
                self.registry.read_document(run_id, EVALUATION),
                primary=product.gate.primary,
                run_id=run_id,
                made_by=run.data.tags.get(RUN_KEY, ""),
                version=number.get(run_id, ""),
                url=f"{self.registry.uri}/#/experiments/{experiment.experiment_id}/runs/{run_id}",
            )

    def _is_judged(self, run_id: str) -> bool:
        return any(file.path == EVALUATION for file in self.registry.client.list_artifacts(run_id))

    def _monitoring(
        self,
        product: ModelProduct,
        entries: Sequence[LogEntry],
        manifests: Mapping[str, tuple[str, str, bool, Manifest | None]],
    ) -> Iterator[MonitoringLine]:
        """Oldest first, each as its own commit holds it: a later run as of the same moment replaces it."""
        primary = product.gate.primary
        for entry in reversed(entries):
            if entry.record is None or entry.record.station != f"monitor__{product.name}":
                continue
            as_of = datetime.fromisoformat(entry.message.partition(" as of ")[2])
            path = findings_path(product.name, as_of)
            found = json.loads(read_bytes(self.lake, entry.commit, path))
            manifest = manifests.get(found["model_version"], ("", "", False, None))[3]
            at_release = None if manifest is None else manifest.metrics[primary].value
            yield _monitoring(found, entry.commit.commit, primary, at_release)


def _candidate(found: dict[str, Any], *, primary: str, **of_run: str) -> CandidateLine:
    training_set, verdict, comparison = found["training_set"], found["verdict"], found["comparison"]
    compared = ("metric", "gain", "low", "p_value", "rows", "entities")
    return CandidateLine(
        **of_run,
        as_of=training_set["as_of"],
        training_set_id=training_set["id"],
        rows=tuple(
            (split, training_set["rows"][split]["rows"], training_set["rows"][split]["mean_label"])
            for split in ("train", "validation", "test")
            if split in training_set["rows"]
        ),
        passed=verdict["passed"],
        checked=verdict["checked"],
        findings=tuple(Finding(**finding) for finding in verdict["findings"]),
        evaluation=evaluation_line(found["evaluation"], primary),
        comparison=None
        if comparison is None
        else ComparisonLine(
            champion_version=found.get("champion_version", ""),
            high=comparison.get("high"),
            **{name: comparison[name] for name in compared},
        ),
    )


def _monitoring(found: dict[str, Any], commit: str, primary: str, at_release: float | None) -> MonitoringLine:
    drift, performance, decision = found["drift"], found["performance"], found["decision"]
    columns = tuple(
        DriftLine(
            column["column"],
            column["psi"],
            column["drifted"],
            tuple(column["reference"]),
            tuple(column["current"]),
        )
        for column in (drift["columns"] if drift else ())
    )
    return MonitoringLine(
        as_of=found["as_of"],
        version=found["model_version"],
        rows=drift["rows"] if drift else 0,
        columns=columns,
        share_drifted=drift["share_drifted"] if drift else 0.0,
        breach=drift["breach"] if drift else False,
        matured_rows=found["matured_rows"],
        performance=None
        if performance is None
        else metric_line(primary, performance["metrics"][primary], performance["no_skill"]),
        at_release=at_release,
        retrain=decision["retrain"],
        reasons=tuple(decision["reasons"]),
        commit=commit,
    )


def _predictions(product: str, entries: Sequence[LogEntry]) -> Iterator[PredictionLine]:
    """From the log: oldest first, only those that changed main."""
    for entry in reversed(entries):
        if entry.record is None or entry.record.station != f"score__{product}":
            continue
        told = dict(entry.metadata)
        as_of = told.get("as_of") or entry.message.partition(" as of ")[2].partition(": ")[0]
        yield PredictionLine(
            as_of, int(told.get("rows", "0")), told.get("model_version", ""), entry.commit.commit
        )
