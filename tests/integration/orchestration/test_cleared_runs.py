"""A run that is cleared and done again: it publishes what it finds, and forgets nothing it did before."""

from types import SimpleNamespace
from uuid import uuid4

import pytest
from pydantic import SecretStr

from include.lake import Lake, open_draft, upload
from include.lake.history import log
from include.orchestration import publication
from include.settings import Settings
from include.spec.refs import Judged
from include.spec.verdict import Verdict

pytestmark = pytest.mark.integration

RUN, STATION = "manual__1", "score__x"
JUDGED = Judged(Verdict(True, "ab" * 32, 1), 1.0, 1)


@pytest.fixture
def lake(lake_server_local, tmp_path, monkeypatch):
    known = Settings(
        home=tmp_path,
        lakefs_endpoint=lake_server_local.endpoint,
        lakefs_access_key_id=lake_server_local.access_key_id,
        lakefs_secret_access_key=SecretStr(lake_server_local.secret_access_key),
        lake_repository=f"lake-{uuid4().hex[:12]}",
        lake_storage_namespace=f"local://lake/{uuid4().hex}",
    )
    monkeypatch.setattr(publication, "settings", lambda: known)
    return Lake.prepare(known)


def run_through(lake, monkeypatch, tmp_path, cleared, content):
    """The steps of a run, as its tasks do them after it was cleared so many times."""
    run = SimpleNamespace(run_id=RUN, clear_number=cleared)
    pushed: dict[str, object] = {}
    told = SimpleNamespace(xcom_push=pushed.__setitem__)
    monkeypatch.setattr(publication, "get_current_context", lambda: {"dag_run": run, "ti": told})
    draft = open_draft(lake, publication.attempt_of(RUN), STATION, restart=True)
    file = tmp_path / "scores.txt"
    file.write_text(content)
    upload(lake, draft, [file], "predictions/x")
    published = publication.publish(draft, JUDGED, f"Predict {content}", {})
    assert pushed["published"] == published
    return published


def messages(lake):
    return [entry.message for entry in log(lake) if entry.record is not None]


def test_a_cleared_run_publishes_what_is_different_then(lake, monkeypatch, tmp_path):
    first = run_through(lake, monkeypatch, tmp_path, 0, "one")
    second = run_through(lake, monkeypatch, tmp_path, 1, "two")
    assert first.changed
    assert second.changed
    assert first.commit != second.commit
    assert messages(lake) == ["Predict two", "Predict one"]


def test_a_cleared_run_that_finds_its_work_done_tells_of_it_again(lake, monkeypatch, tmp_path):
    first = run_through(lake, monkeypatch, tmp_path, 0, "one")
    again = run_through(lake, monkeypatch, tmp_path, 2, "one")
    assert again == first
    assert messages(lake) == ["Predict one"]


def test_a_run_that_never_changed_main_still_says_so(lake, monkeypatch, tmp_path):
    run_through(lake, monkeypatch, tmp_path, 0, "one")
    monkeypatch.setattr(f"{__name__}.RUN", "manual__2")
    for cleared in (0, 1):
        assert not run_through(lake, monkeypatch, tmp_path, cleared, "one").changed
