"""I7 and I9 of models, and I10, on hand-made documents."""

import hashlib
import hmac
import json

import pytest

from include.audit.leaks import check_files, check_modes, check_texts, secrets_of
from include.audit.registry_reader import Registered, Version
from include.audit.versions import (
    bundle_digest,
    check_champions,
    check_origins,
    check_versions,
    verify_version,
)
from include.settings import Settings

KEY = b"a key to sign with"
FILES = {"model.ubj": b"trees", "schema.json": b"{}"}
MANIFEST = {
    "product": "lapse",
    "version": "1",
    "run_id": "r",
    "digest": bundle_digest(FILES),
    "data_commit": "c1",
    "feature_commit": "c2",
    "training_set_commit": "c3",
    "training_set_id": "t",
    "code_commit": "code",
    "dbt_manifest_hash": "d",
    "seed": 17,
    "suite_hashes": {"raw": "1", "features": "2"},
    "gate_passed": True,
}
MAIN = {"c1", "c2", "c3", "c4"}


def signed(manifest, key=KEY, signer="release"):
    content = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    signature = hmac.new(key, content + b"\0" + signer.encode(), hashlib.sha256).hexdigest()
    sha256 = hashlib.sha256(content).hexdigest()
    return {"manifest": manifest, "content_sha256": sha256, "signer": signer, "signature": signature}


def version(files=FILES, **tags):
    names = ("data_commit", "feature_commit", "training_set_commit", "training_set_id", "code_commit")
    told = {name: str(MANIFEST[name]) for name in (*names, "dbt_manifest_hash", "digest")}
    told |= {"seed": "17", "suite_hashes": "features=2,raw=1", "signer": "release"}
    told |= {"manifest": "releases/lapse/1.json", "manifest_commit": "c4", **tags}
    return Version("lapse", "1", "r", "", {f"headrace.{key}": told[key] for key in told if told[key]}, files)


def verify(one=None, document=None):
    content = json.dumps(document or signed(MANIFEST)).encode()
    lake = {("c4", "releases/lapse/1.json"): content}
    return verify_version(one or version(), lambda ref, path: lake.get((ref, path)), KEY)


def ids(checked):
    return [violation.id for violation in checked.violations]


def test_a_signed_version_is_kept():
    verified = [verify()]
    registered = Registered((verified[0].version,), {"lapse": "1"})
    assert (check_versions(verified).count, check_versions(verified).violations) == (1, ())
    assert (check_origins(verified, MAIN).count, check_origins(verified, MAIN).violations) == (4, ())
    champions = check_champions(registered, verified)
    assert (champions.count, champions.violations) == (1, ())


@pytest.mark.parametrize(
    ("one", "document"),
    [
        (version(seed=""), None),
        (version(data_commit=""), None),
        (version(data_commit="another"), None),
        (version(suite_hashes="raw=9"), None),
        (version(files={**FILES, "model.ubj": b"other trees"}), None),
        (version(files={}), None),
        (version(signer="stranger"), None),
        (version(manifest_commit="c9"), None),
        (None, signed(MANIFEST, key=b"another key")),
        (None, {**signed(MANIFEST), "manifest": {**MANIFEST, "seed": 18}}),
        (None, {**signed(MANIFEST), "content_sha256": "0"}),
        (None, signed({**MANIFEST, "version": "2"})),
        (None, signed({**MANIFEST, "gate_passed": False})),
        (None, {"no": "manifest"}),
    ],
)
def test_a_version_that_is_not_what_was_signed_is_named(one, document):
    verified = [verify(one, document)]
    assert set(ids(check_versions(verified))) == {"lapse/1"}
    champion = Registered(champions={"lapse": "1"})
    assert ids(check_champions(champion, verified)) == ["lapse@champion"]


def test_an_origin_that_is_not_on_main_is_named():
    assert ids(check_origins([verify()], MAIN - {"c2"})) == ["lapse/1"]


def test_a_champion_that_is_not_there_is_named():
    assert ids(check_champions(Registered(champions={"lapse": "7"}), [verify()])) == ["lapse@champion"]


SECRET = "s3cr3t/w0rd+with=signs"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "server.log").write_text("started\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "server.json").write_text(SECRET)
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "data").write_text(SECRET)
    (tmp_path / "credentials.json").write_text(json.dumps({"s3": {"secret_access_key": SECRET}, "n": 1}))
    (tmp_path / "stack.env").write_text("HEADRACE_RETAIL_DSN=postgresql://u:pass-of-retail@h/d\n")
    for path in ("run/server.json", "credentials.json", "stack.env"):
        (tmp_path / path).chmod(0o600)
    return tmp_path


def known(home):
    return secrets_of(home, Settings(home=home, _env_file=None))  # type: ignore[call-arg]


def test_a_state_folder_in_order_is_kept(home):
    secrets = known(home)
    assert {"credentials.json#s3.secret_access_key", "HEADRACE_RETAIL_DSN"} <= set(secrets)
    assert secrets["HEADRACE_RETAIL_DSN"] == "pass-of-retail"
    assert (check_files(home, secrets).count, check_files(home, secrets).violations) == (1, ())
    assert (check_modes(home).count, check_modes(home).violations) == (3, ())


@pytest.mark.parametrize("spelled", [SECRET, "s3cr3t%2Fw0rd%2Bwith%3Dsigns", "x pass-of-retail y"])
def test_a_secret_in_a_log_is_named_and_not_shown(home, spelled):
    (home / "log" / "server.log").write_text("a" * (1 << 22) + spelled)
    (violation,) = check_files(home, known(home)).violations
    assert violation.id == "log/server.log"
    assert SECRET not in violation.what


def test_a_secret_across_two_chunks_is_found(home):
    (home / "log" / "server.log").write_text("a" * ((1 << 22) - 5) + SECRET)
    assert ids(check_files(home, known(home))) == ["log/server.log"]


def test_a_secret_in_a_tag_is_named(home):
    texts = [("run 1 tags a", "fine"), ("run 1 tags b", f"key {SECRET}")]
    checked = check_texts(texts, known(home), "tags")
    assert (checked.count, ids(checked)) == (2, ["run 1 tags b"])


def test_credentials_that_others_can_read_are_named(home):
    (home / "stack.env").chmod(0o644)
    assert ids(check_modes(home)) == ["stack.env"]
