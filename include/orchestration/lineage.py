"""From a judged candidate to the champion: its origins stated, signed and kept, and only then promoted."""

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from include.orchestration.moment import parse_moment
from include.settings import settings
from include.spec.errors import HeadraceError
from include.spec.product import ModelProduct
from include.spec.refs import CommitRef, JudgedCandidate, ModelRef, Refused
from include.spec.verdict import Finding, Verdict

if TYPE_CHECKING:
    from include.lake import Lake
    from include.registry.bundle import Predictor
    from include.registry.store import Registry
    from include.release.manifest import Manifest

LOCK_FILE = Path(__file__).parents[2] / "requirements.txt"
MODEL_FORMAT = {"gradient_boosting": "ubj", "tabular_net": "onnx"}


def release_candidate(product: ModelProduct, judged: JudgedCandidate, run_key: str) -> ModelRef:
    """Registers, writes the signed manifest to the lake, and moves the champion's alias; in this order.

    Trying again finds what was done: the version by its run, the manifest by the run that published it.

    Raises:
        HeadraceError: There is no key to sign with, or the manifest could not be kept.
    """
    from include.lake import Lake, publish, upload
    from include.registry.store import Registry
    from include.release.manifest import manifest_path, render, sign, verify

    key = settings().signing_key.get_secret_value().encode()
    if not key:
        raise HeadraceError("There is no key to sign releases with.", remedy="Set HEADRACE_SIGNING_KEY.")
    registry, lake = Registry.connect(settings()), Lake.connect(settings())
    model = registry.register(judged.candidate, _tags(judged))
    manifest = _manifest(product, judged, model, registry, lake)
    document = render(sign(manifest, key, settings().signer))
    path = manifest_path(product.name, model.version)

    def write(draft: Any) -> None:
        with TemporaryDirectory() as made:
            file = Path(made) / Path(path).name
            file.write_bytes(document)
            upload(lake, draft, [file], str(Path(path).parent))

    published = publish(
        lake,
        run_key,
        "release",
        write=write,
        audit=lambda _: _audit(path, document, lambda: verify(document, key), manifest),
        message=f"Release {product.name} version {model.version}",
        metadata={"product": product.name, "version": model.version, "digest": model.digest},
    )
    if isinstance(published, Refused):
        raise HeadraceError(f"The manifest was refused: {published.verdict.findings}", path=path)
    registry.tag_version(
        model,
        {
            "headrace.manifest": path,
            "headrace.manifest_commit": published.commit.commit,
            "headrace.manifest_sha256": hashlib.sha256(document).hexdigest(),
            "headrace.signer": settings().signer,
            "headrace.data_commit": manifest.data_commit,
            "headrace.code_commit": manifest.code_commit,
            "headrace.dbt_manifest_hash": manifest.dbt_manifest_hash,
            "headrace.seed": str(manifest.seed),
            "headrace.suite_hashes": ",".join(f"{k}={v}" for k, v in sorted(manifest.suite_hashes.items())),
        },
    )
    registry.promote(model)
    registry.finish(judged.candidate.run_id)
    return model


def _tags(judged: JudgedCandidate) -> dict[str, str]:
    training_set = judged.training_set
    return {
        "headrace.training_set_id": training_set.id,
        "headrace.training_set_commit": training_set.at.commit,
        "headrace.feature_commit": training_set.features_at.commit,
        "headrace.as_of": training_set.as_of,
    }


def _manifest(
    product: ModelProduct, judged: JudgedCandidate, model: ModelRef, registry: "Registry", lake: "Lake"
) -> "Manifest":
    from include.lake.record import code_version
    from include.release.manifest import Compared, Manifest, Measured

    found = registry.read_document(judged.candidate.run_id, "evaluation.json")
    made_by = _made_by(lake, product.source, judged.training_set.features_at)
    comparison = found["comparison"]
    return Manifest(
        product=product.name,
        version=model.version,
        digest=model.digest,
        model_format=MODEL_FORMAT[product.train.kind],
        data_commit=made_by["data_commit"],
        feature_commit=judged.training_set.features_at.commit,
        training_set_id=judged.training_set.id,
        training_set_commit=judged.training_set.at.commit,
        dbt_manifest_hash=made_by["dbt_manifest_hash"],
        suite_hashes={
            f"raw/{product.source}": made_by["raw_suite_hash"],
            f"features/{product.source}": made_by["feature_suite_hash"],
        },
        gate_hash=judged.verdict.suite_hash,
        gate_passed=judged.verdict.passed,
        code_commit=code_version(),
        lock_hash=hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest() if LOCK_FILE.is_file() else "",
        seed=product.train.seed,
        hardware_class=registry.hardware_class(judged.candidate.run_id),
        as_of=parse_moment(judged.training_set.as_of),
        metrics={
            name: Measured(**{key: float(value) for key, value in metric.items()})
            for name, metric in found["evaluation"]["metrics"].items()
        },
        comparison=None
        if comparison is None
        else Compared(
            champion_version=judged.champion_version,
            **{key: comparison[key] for key in ("metric", "gain", "low", "p_value", "rows")},
        ),
        approver="gate",
        created_at=registry.started_at(judged.candidate.run_id),
        run_id=judged.candidate.run_id,
    )


def newest_features(lake: "Lake", source: str) -> CommitRef:
    """The commit of main that last changed the features of a source.

    Not the head: a commit about something else must not give the same features another name, or what is made
    from them would never be found done.

    Raises:
        HeadraceError: There are none yet.
    """
    from include.lake.history import log

    for entry in log(lake):
        if entry.record is not None and entry.record.station == f"build_features__{source}":
            return entry.commit
    raise HeadraceError(f"There are no features of {source} yet.", remedy=f"Run build_features__{source}.")


def _made_by(lake: "Lake", source: str, features_at: CommitRef) -> dict[str, str]:
    """What the commits of main, back from this one, say of the features and of the data under them."""
    from include.lake.history import log

    wanted = {f"build_features__{source}": "feature", f"ingest_batch__{source}": "raw"}
    made: dict[str, str] = {}
    start = features_at.commit
    for entry in log(lake, start):
        kind = wanted.get(entry.record.station) if entry.record is not None else None
        if kind is None or entry.record is None or f"{kind}_suite_hash" in made:
            continue
        if kind == "raw" and "data_commit" not in made:
            continue  # newer data than the features were built from
        made[f"{kind}_suite_hash"] = entry.record.suite_hash
        if kind == "feature":
            made |= {key: dict(entry.metadata)[key] for key in ("data_commit", "dbt_manifest_hash")}
        if len(made) == 4:
            return made
    raise HeadraceError(
        f"Main does not say how the features of {source} were made.",
        remedy=f"Run ingest_batch__{source} and build_features__{source}; they record it.",
        commit=start,
    )


def _audit(path: str, document: bytes, verified: Any, manifest: "Manifest") -> Verdict:
    """The gate of a manifest: it reads back as what was meant, and names everything it was made from."""
    rules = {
        "the signature holds": verified() == manifest,
        "every origin is named": all(
            (
                manifest.data_commit,
                manifest.feature_commit,
                manifest.training_set_id,
                manifest.dbt_manifest_hash,
                manifest.code_commit,
                manifest.digest,
            )
        ),
        "the gate passed": manifest.gate_passed,
    }
    suite_hash = hashlib.sha256("\n".join(rules).encode()).hexdigest()
    broken = tuple(
        Finding(path, rule, f"{len(document)} bytes") for rule, holds in rules.items() if not holds
    )
    return Verdict(not broken, suite_hash, len(rules), broken)


def load_released(lake: "Lake", registry: "Registry", model: ModelRef) -> tuple["Predictor", "Manifest"]:
    """Loads a version only if a signed manifest in the lake names its bytes.

    Raises:
        HeadraceError: The version has no manifest, or the manifest names other bytes.
        TamperedManifest: The manifest's signature does not hold.
        DigestMismatch: The registry holds other bytes than the manifest names.
    """
    from include.lake import checkout
    from include.release.manifest import manifest_path, verify

    path = manifest_path(model.product, model.version)
    tags = registry.version_tags(model)
    if "headrace.manifest_commit" not in tags:
        raise HeadraceError(
            f"Version {model.version} of {model.product} was never released: it has no manifest.",
            remedy="Promote a version that train__<product> has released.",
        )
    at = CommitRef(lake.repository, tags["headrace.manifest_commit"])
    with checkout(lake, at, path) as held:
        document = held.path(path).read_bytes()
    manifest = verify(document, settings().signing_key.get_secret_value().encode())
    if (manifest.product, manifest.version) != (model.product, model.version):
        raise HeadraceError("The manifest is another version's.", path=path, version=model.version)
    released = ModelRef(model.product, model.version, model.run_id, manifest.digest)
    return registry.load(released), manifest
