"""A manifest says what was signed, or it says nothing."""

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.release.errors import TamperedManifest
from include.release.manifest import Compared, Manifest, Measured, manifest_path, render, sign, verify

KEY = b"a key that only the environment knows"
MANIFEST = Manifest(
    product="coupon_redemption",
    version="3",
    digest="d" * 64,
    model_format="ubj",
    data_commit="c" * 64,
    feature_commit="f" * 64,
    training_set_id="0123456789abcdef",
    training_set_commit="e" * 64,
    dbt_manifest_hash="b" * 64,
    suite_hashes={"raw/retail": "1" * 64},
    gate_hash="9" * 64,
    gate_passed=True,
    code_commit="abc1234",
    lock_hash="7" * 64,
    seed=17,
    hardware_class="cpu/x86_64",
    as_of=datetime(2017, 10, 1),
    metrics={"average_precision": Measured(value=0.5, low=0.4, high=0.6, level=0.9)},
    comparison=Compared(
        champion_version="2", metric="average_precision", gain=0.1, low=0.02, p_value=0.01, rows=900
    ),
    approver="gate",
    created_at=datetime(2017, 10, 2, 3, 4, 5),
    run_id="r1",
)


def test_what_was_signed_is_read_back_whole():
    assert verify(render(sign(MANIFEST, KEY, "release")), KEY) == MANIFEST
    assert manifest_path("coupon_redemption", "3") == "releases/coupon_redemption/3.json"


def test_the_bytes_are_the_same_for_the_same_release():
    assert render(sign(MANIFEST, KEY, "release")) == render(sign(MANIFEST.model_copy(), KEY, "release"))


@given(st.sampled_from(sorted(set(Manifest.model_fields) - {"format_version"})), st.text(max_size=5))
def test_any_changed_field_is_found(field, other):
    document = sign(MANIFEST, KEY, "release")
    if document["manifest"][field] == other:
        return
    document["manifest"][field] = other
    with pytest.raises(TamperedManifest, match="does not hold"):
        verify(render(document), KEY)


def test_another_signer_or_another_key_is_found():
    document = sign(MANIFEST, KEY, "release")
    with pytest.raises(TamperedManifest):
        verify(render({**document, "signer": "someone"}), KEY)
    with pytest.raises(TamperedManifest, match="HEADRACE_SIGNING_KEY"):
        verify(render(document), b"another key")


@pytest.mark.parametrize(
    "document", [b"", b"{}", b"[]", b"null", b'{"manifest": {}, "signer": "x"}', b"\xff"]
)
def test_what_is_no_manifest_is_refused(document):
    with pytest.raises(TamperedManifest):
        verify(document, KEY)


def test_the_key_is_nowhere_in_the_document():
    assert KEY.decode() not in json.dumps(sign(MANIFEST, KEY, "release"))
