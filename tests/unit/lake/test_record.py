"""What a commit says of its run survives the strings of commit metadata."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.lake.errors import Busy, MergeConflict
from include.lake.record import KEPT_FINDINGS, LONGEST_VALUE, RunRecord, caller_metadata, code_version
from include.spec.verdict import Finding, Verdict

TEXT = st.text(max_size=40)
NAMES = st.text(min_size=1, max_size=40)
FINDINGS = st.lists(st.builds(Finding, table=TEXT, rule=TEXT, observed=TEXT), max_size=5).map(tuple)
RECORDS = st.builds(
    RunRecord,
    kind=st.sampled_from(["opened", "unchanged", "refused", "published"]),
    run_id=NAMES,
    station=NAMES,
    base=TEXT,
    code_version=TEXT,
    attempt=TEXT,
    draft=TEXT,
    at=TEXT,
    rows=st.dictionaries(TEXT, st.integers(0, 2**40), max_size=5),
    watermark=TEXT,
)


@given(record=RECORDS, extra=st.dictionaries(NAMES.filter(lambda key: "." not in key), TEXT, max_size=3))
def test_a_record_comes_back_from_metadata(record, extra):
    metadata = record.to_metadata(extra)
    assert all(isinstance(value, str) for value in metadata.values())
    assert RunRecord.from_metadata(metadata) == record
    assert caller_metadata(metadata) == extra


@given(findings=FINDINGS, checked=st.integers(1, 1000))
def test_a_verdict_comes_back_with_its_findings(findings, checked):
    verdict = Verdict(False, "a" * 64, checked, findings)
    record = RunRecord("opened", "run", "station", "base", "1").judged("refused", verdict)
    again = RunRecord.from_metadata(record.to_metadata())
    assert again is not None
    assert again.verdict == verdict
    assert again.findings == len(findings)


def test_of_many_findings_the_first_are_kept_and_all_are_counted():
    findings = tuple(Finding("t", f"rule {number}", "x" * 3000) for number in range(100))
    record = RunRecord("opened", "run", "station", "base", "1").judged(
        "refused", Verdict(False, "a" * 64, 100, findings)
    )
    metadata = record.to_metadata()
    assert max(map(len, metadata.values())) <= LONGEST_VALUE
    again = RunRecord.from_metadata(metadata)
    assert again is not None
    assert again.findings == 100
    assert 0 < len(again.worst) < KEPT_FINDINGS
    assert again.worst == findings[: len(again.worst)]


def test_callers_cannot_write_the_record():
    record = RunRecord("opened", "run", "station", "base", "1")
    with pytest.raises(ValueError, match="headrace"):
        record.to_metadata({"headrace.kind": "published"})
    with pytest.raises(TypeError, match="must be a string, got int"):
        record.to_metadata({"rows": 3})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "change",
    [
        {"headrace.kind": "other"},
        {"headrace.run_id": ""},
        {"headrace.rows": "[1]"},
        {"headrace.rows": "{"},
        {"headrace.checked": "many"},
        {"headrace.worst_findings": '[{"unknown": 1}]'},
    ],
)
def test_metadata_that_is_not_ours_is_no_record(change):
    metadata = RunRecord("opened", "run", "station", "base", "1").to_metadata()
    assert RunRecord.from_metadata(metadata) is not None
    assert RunRecord.from_metadata(metadata | change) is None
    assert RunRecord.from_metadata(None) is None
    assert RunRecord.from_metadata({"source": "theirs"}) is None


def test_what_the_server_adds_is_not_the_callers():
    assert caller_metadata({".lakefs.merge.strategy": "default", "source": "retail"}) == {"source": "retail"}


def test_the_code_has_a_version():
    assert code_version()
    assert code_version() != "unknown"


def test_errors_cross_processes_whole():
    """By `__reduce_ex__`, of which a process pool and `copy` both make use."""
    conflict = MergeConflict("both changed it", paths=("a", "b"), remedy="again", branch="draft-x")
    again = copy.copy(conflict)
    assert again is not conflict
    assert (str(again), again.paths, again.ids) == (str(conflict), ("a", "b"), {"branch": "draft-x"})
    assert copy.copy(Busy("busy", status=503)).status == 503
