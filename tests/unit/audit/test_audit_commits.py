"""I4, I5, I6 and I9 on hand-made histories: each planted fault is named by its id."""

import copy

import pytest

from include.audit.commits import check_chain, check_merges, check_protection, check_verdicts
from include.audit.result import Result, combined
from include.audit.watermarks import Landing, check_watermarks, snapshot_digest

TOLD = {
    "headrace.run_id": "run-1",
    "headrace.station": "ingest",
    "headrace.base": "root",
    "headrace.code_version": "abc",
    "headrace.suite_hash": "5" * 64,
    "headrace.verdict": "passed",
    "headrace.checked": "3",
}
ROOT = {"id": "root", "parents": [], "meta_range_id": "", "metadata": {}}
DRAFT = {
    "id": "draft",
    "parents": ["opened"],
    "meta_range_id": "tree",
    "metadata": {**TOLD, "headrace.kind": "passed"},
}
MERGE = {
    "id": "merge",
    "parents": ["root"],
    "meta_range_id": "tree",
    "metadata": {**TOLD, "headrace.kind": "published", "headrace.draft": "draft"},
}


@pytest.fixture
def history():
    return copy.deepcopy({"merge": MERGE, "root": ROOT, "draft": DRAFT})


def chain(history):
    return [history["merge"], history["root"]]


def ids(checked):
    return [violation.id for violation in checked.violations]


def test_a_whole_history_is_kept(history):
    for checked in (
        check_verdicts(chain(history)),
        check_merges(chain(history), history.get),
        check_chain(chain(history), history.get),
        check_protection(["main"], []),
    ):
        assert checked.count > 0
        assert not checked.violations


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("headrace.suite_hash", ""),
        ("headrace.run_id", ""),
        ("headrace.code_version", ""),
        ("headrace.verdict", "refused"),
        ("headrace.checked", "0"),
        ("headrace.checked", "many"),
    ],
)
def test_a_commit_without_its_verdict_is_named(history, key, value):
    history["merge"]["metadata"][key] = value
    assert ids(check_verdicts(chain(history))) == ["merge"]


def test_a_direct_commit_is_named(history):
    history["merge"]["metadata"] = {}
    assert ids(check_merges(chain(history), history.get)) == ["merge"]


def test_a_draft_that_never_was_is_named(history):
    del history["draft"]
    assert ids(check_merges(chain(history), history.get)) == ["merge"]


def test_a_draft_that_was_refused_is_named(history):
    history["draft"]["metadata"]["headrace.kind"] = "refused"
    assert ids(check_merges(chain(history), history.get)) == ["merge"]


def test_a_merge_that_holds_more_than_was_judged_is_named(history):
    history["merge"]["meta_range_id"] = "another tree"
    assert ids(check_merges(chain(history), history.get)) == ["merge"]


def test_a_merge_of_something_else_is_named(history):
    history["merge"]["parents"] = ["root", "stranger"]
    assert ids(check_merges(chain(history), history.get)) == ["merge"]


def test_an_unprotected_main_and_what_is_staged_there_are_named():
    assert ids(check_protection(["release-*"], ["raw/x.parquet"])) == ["raw/x.parquet", "main"]


def test_a_parent_that_is_gone_is_named(history):
    del history["root"]
    assert ids(check_chain([history["merge"]], history.get)) == ["merge", "merge"]


def test_nothing_to_check_is_not_kept():
    assert combined("I4", "", [check_verdicts([ROOT])]).outcome == "nothing to check"
    assert Result("I3", "", "", 0).outcome == "nothing to check"


MANIFEST = {"contract": "c", "parts": [{"sha256": "a"}, {"sha256": "b"}]}
FILES = {"contract": "c", "parts": [{"sha256": "a", "origin": "w1"}, {"sha256": "b", "origin": "w2"}]}
PATH = "raw/shop/_watermark.json"
LOG_PATH = "raw/shop/_watermark_log.json"


def landing(**changes):
    positions = [
        {"table": "orders", "kind": "snapshot", "value": snapshot_digest(MANIFEST)},
        {"table": "weeks", "kind": "files", "value": "w2"},
    ]
    fields = {
        "commit": "merge",
        "source": "shop",
        "changed": (PATH, "raw/shop/orders/snapshot/0.parquet"),
        "watermark": {"positions": positions},
        "manifests": {"orders": MANIFEST, "weeks": FILES},
    }
    return Landing(**{**fields, **changes})


def test_a_watermark_with_its_rows_is_kept():
    checked = check_watermarks([landing()])
    assert (checked.count, checked.violations) == (2, ())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"watermark": None}, f"merge:{PATH}"),
        ({"changed": ("raw/shop/orders/snapshot/0.parquet",)}, f"merge:{PATH}"),
        ({"manifests": {"orders": {"contract": "c", "parts": []}, "weeks": FILES}}, f"merge:{PATH}#orders"),
        ({"manifests": {"orders": MANIFEST, "weeks": MANIFEST}}, f"merge:{PATH}#weeks"),
        ({"manifests": {"orders": MANIFEST}}, f"merge:{PATH}#weeks"),
        ({"manifests": {"orders": MANIFEST, "weeks": FILES, "new": MANIFEST}}, f"merge:{PATH}#new"),
    ],
)
def test_a_watermark_apart_from_its_rows_is_named(changes, named):
    assert ids(check_watermarks([landing(**changes)])) == [named]


LOG = {"table": "", "kind": "lsn", "value": "0/200@slot@7@1"}
LOGS = tuple(
    f"raw/shop/orders/changes/{first}-{last}-00000.parquet"
    for first, last in (("0" * 16, f"{256:016X}"), (f"{256:016X}", f"{512:016X}"))
)


def logged(position=LOG, logs=LOGS):
    held = {"positions": [position]}
    return landing(watermark=None, log_watermark=held, changed=(LOG_PATH, *logs), manifests={}, logs=logs)


def test_a_position_of_the_log_with_its_changes_is_kept():
    assert check_watermarks([logged()]).violations == ()
    # Nothing of ours was in the log since.
    assert check_watermarks([logged(LOG | {"value": "1/0@slot@7@1"})]).violations == ()


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"position": LOG | {"value": "0/1FF@slot@7@1"}}, "names 0/1FF, but there are changes up to 0/200"),
        ({"position": LOG | {"value": "0/200"}}, "names '0/200', which is no position in a log"),
        ({"position": LOG | {"kind": "cursor"}}, "names no position of the log, but there are changes"),
        ({"logs": ()}, "names a position of a log, but there are no changes"),
    ],
)
def test_a_position_of_the_log_apart_from_its_changes_is_named(planted, said):
    violations = check_watermarks([logged(**planted)]).violations
    assert {violation.id for violation in violations} == {f"merge:{LOG_PATH}"}
    assert said in [violation.what for violation in violations]
