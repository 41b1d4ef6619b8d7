"""I7 and I9 of models: what each version was made from, signed, and the very bytes that were signed."""

import hashlib
import hmac
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from include.audit.registry_reader import Registered, Version
from include.audit.result import Checked, Violation

PREFIX = "headrace."
REQUIRED_TAGS = (
    "data_commit",
    "feature_commit",
    "training_set_id",
    "training_set_commit",
    "code_commit",
    "suite_hashes",
    "seed",
    "signer",
    "digest",
    "manifest",
    "manifest_commit",
)
STATED_IN_BOTH = (
    "data_commit",
    "feature_commit",
    "training_set_id",
    "training_set_commit",
    "code_commit",
    "dbt_manifest_hash",
    "digest",
)
COMMITS = ("data_commit", "feature_commit", "training_set_commit")

Read = Callable[[str, str], bytes | None]


@dataclass(frozen=True)
class Verified:
    """What could be said of one version.

    Args:
        version: The version.
        manifest: What is signed, where the signature holds; else None.
        faults: What is wrong with it.
    """

    version: Version
    manifest: Mapping[str, Any] | None
    faults: tuple[str, ...]


def verify_version(version: Version, read: Read, key: bytes) -> Verified:
    """Tags, manifest, signature and bytes of one version.

    Args:
        version: As the registry holds it, with its bytes.
        read: Gives the bytes of a path of the lake at a commit, or None.
        key: The key that releases are signed with.
    """
    tags = {name.removeprefix(PREFIX): value for name, value in version.tags.items()}
    faults = [f"does not name its {name}" for name in REQUIRED_TAGS if not tags.get(name)]
    path, commit = tags.get("manifest", ""), tags.get("manifest_commit", "")
    content = read(commit, path) if path and commit else None
    if content is None:
        faults.append("has no manifest in the lake")
        return Verified(version, None, tuple(faults))
    manifest = signed_content(content, key, tags.get("signer", ""))
    if manifest is None:
        faults.append(f"has a manifest whose signature does not hold: {path} at {commit}")
        return Verified(version, None, tuple(faults))
    faults += _differences(version, tags, manifest)
    found = bundle_digest(version.files)
    if found != manifest.get("digest"):
        faults.append(f"holds bytes of digest {found or 'none'}, signed was {manifest.get('digest')}")
    return Verified(version, manifest, tuple(faults))


def signed_content(document: bytes, key: bytes, signer: str) -> dict[str, Any] | None:
    """The manifest in a signed document; None unless that signer's signature holds.

    Signed is the canonical JSON (sorted, without spaces), a NUL and the signer's name, by HMAC-SHA256.
    """
    try:
        signed = json.loads(document)
        manifest, named, signature = signed["manifest"], str(signed["signer"]), str(signed["signature"])
        stated = str(signed["content_sha256"])
    except (ValueError, KeyError, TypeError):
        return None
    content = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    expected = hmac.new(key, content + b"\0" + named.encode(), hashlib.sha256).hexdigest()
    holds = hmac.compare_digest(signature.encode(), expected.encode()) and named == signer and bool(key)
    if not holds or stated != hashlib.sha256(content).hexdigest() or not isinstance(manifest, dict):
        return None
    return manifest


def bundle_digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 over a line `name NUL sha256` per file in order of name; empty for no files."""
    lines = [f"{name}\0{hashlib.sha256(content).hexdigest()}\n" for name, content in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""


def check_versions(verified: Collection[Verified]) -> Checked:
    """I7: every version says what it was made from, and is that."""
    violations = [Violation(one.version.id, fault) for one in verified for fault in one.faults]
    return Checked("model versions", len(verified), tuple(violations))


def check_origins(verified: Collection[Verified], main: Collection[str]) -> Checked:
    """I9: every commit that a manifest names is on main, and so is the one that holds the manifest.

    Args:
        verified: The versions.
        main: Ids of the commits of main.
    """
    violations = []
    count = 0
    for one in verified:
        named = {name: one.manifest.get(name) for name in COMMITS} if one.manifest else {}
        named["manifest_commit"] = one.version.tags.get(f"{PREFIX}manifest_commit")
        count += len(named)
        violations += [
            Violation(one.version.id, f"names a {name} that is not on main: {commit}")
            for name, commit in named.items()
            if commit not in main
        ]
    return Checked("named commits", count, tuple(violations))


def check_champions(registered: Registered, verified: Collection[Verified]) -> Checked:
    """I9: what serves is a version whose manifest is signed and without a fault."""
    sound = {one.version.id for one in verified if one.manifest is not None and not one.faults}
    violations = [
        Violation(f"{product}@champion", f"is version {version}, which has no verified manifest")
        for product, version in sorted(registered.champions.items())
        if f"{product}/{version}" not in sound
    ]
    return Checked("champions", len(registered.champions), tuple(violations))


def _differences(version: Version, tags: Mapping[str, str], manifest: Mapping[str, Any]) -> list[str]:
    stated = {**{name: tags.get(name) for name in STATED_IN_BOTH}, "seed": tags.get("seed")}
    signed = {name: str(manifest.get(name)) for name in stated}
    stated |= {"product": version.product, "version": version.version, "run_id": version.run_id}
    signed |= {name: str(manifest.get(name)) for name in ("product", "version", "run_id")}
    suites = manifest.get("suite_hashes") or {}
    stated["suite_hashes"] = tags.get("suite_hashes")
    signed["suite_hashes"] = ",".join(f"{name}={value}" for name, value in sorted(suites.items()))
    faults = [
        f"is tagged with another {name} than its manifest names: {stated[name]!r}, not {signed[name]!r}"
        for name in stated
        if stated[name] != signed[name]
    ]
    if manifest.get("gate_passed") is not True:
        faults.append("was released though its gate did not pass")
    return faults
