"""The release manifest: the one statement of what a model version is and what it was made from.

Written once per version, canonical, signed, kept in the lake under `releases/<product>/<version>.json` and
named in the registry. Serving, audit, cards, rollback and reproduction read it and nothing else.
"""

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from include.release.errors import TamperedManifest
from include.spec.declaration import Name


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Measured(_Document):
    """A metric on the untouched test period, with its interval over resampled entities."""

    value: float
    low: float
    high: float
    level: float


class Compared(_Document):
    """How the version did against the champion of its time, on the same rows."""

    champion_version: str
    metric: str
    gain: float
    low: float
    p_value: float
    rows: int


class Manifest(_Document):
    """What a version is.

    Args:
        format_version: Of this document.
        product: Registered model's name.
        version: As the registry counts.
        digest: Of the model bundle; serving loads nothing else.
        model_format: Kind of the model file.
        data_commit: Lake commit of the raw data.
        feature_commit: Lake commit of the feature tables that the training set was pinned from.
        training_set_id: Content id of the training set.
        training_set_commit: Lake commit that holds it.
        dbt_manifest_hash: SHA-256 of the feature models' manifest.
        suite_hashes: SHA-256 of each set of rules that the data passed on its way, by station.
        gate_hash: SHA-256 of the gate's rules.
        gate_passed: Whether it passed them all.
        code_commit: Version of this code.
        lock_hash: SHA-256 of the lock file.
        seed: Of fitting.
        hardware_class: Device and machine kind that the bytes were made on.
        as_of: Time that the training set was pinned as of.
        metrics: By name.
        comparison: With the champion; None for a product's first version.
        approver: Who, or which rule, let it through.
        created_at: When.
        run_id: The registry's run.
    """

    format_version: Literal[1] = 1
    product: Name
    version: str
    digest: str
    model_format: str
    data_commit: str
    feature_commit: str
    training_set_id: str
    training_set_commit: str
    dbt_manifest_hash: str
    suite_hashes: dict[str, str]
    gate_hash: str
    gate_passed: bool
    code_commit: str
    lock_hash: str
    seed: int
    hardware_class: str
    as_of: datetime
    metrics: dict[str, Measured]
    comparison: Compared | None
    approver: str
    created_at: datetime
    run_id: str


def manifest_path(product: str, version: str) -> str:
    """Its path in the lake."""
    return f"releases/{product}/{version}.json"


def sign(manifest: Manifest, key: bytes, signer: str) -> dict[str, Any]:
    """The document to keep: the manifest, the hash of its canonical form, who signed, and the signature.

    Args:
        manifest: What is stated.
        key: HMAC-SHA256 key; from the environment only.
        signer: Name of the key's holder; it is signed too.
    """
    content = _canonical(manifest)
    return {
        "manifest": json.loads(content),
        "content_sha256": hashlib.sha256(content).hexdigest(),
        "signer": signer,
        "signature": _signature(content, key, signer),
    }


def render(document: dict[str, Any]) -> bytes:
    """The bytes of a signed document, the same for the same content."""
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def verify(document: bytes, key: bytes) -> Manifest:
    """Reads a signed manifest.

    Raises:
        TamperedManifest: The signature does not hold, or the document is not a manifest.
    """
    try:
        signed = json.loads(document)
        content = json.dumps(signed["manifest"], sort_keys=True, separators=(",", ":")).encode()
        expected = _signature(content, key, signed["signer"])
        if not hmac.compare_digest(str(signed["signature"]), expected):
            raise TamperedManifest(
                "The manifest's signature does not hold: it was changed, or signed with another key.",
                remedy="Compare it with the commit of the lake that wrote it; check HEADRACE_SIGNING_KEY.",
                signer=signed["signer"],
            )
        return Manifest.model_validate_json(content)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        if isinstance(error, TamperedManifest):
            raise
        raise TamperedManifest(
            f"The document is not a signed manifest: {type(error).__name__}.",
            remedy="Read it as of the commit that wrote it: `headrace lake log releases`.",
        ) from error


def _canonical(manifest: Manifest) -> bytes:
    document = manifest.model_dump(mode="json")
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _signature(content: bytes, key: bytes, signer: str) -> str:
    return hmac.new(key, content + b"\0" + signer.encode(), hashlib.sha256).hexdigest()
