"""Following by a stream that holds the slot: killed, overtaken, far behind, and in the way of others."""

import multiprocessing
import os
import signal
from typing import Any

import pytest

from include.ingestion.batch import Desk
from include.ingestion.cdc import capture, confirm, retention, tailing
from include.ingestion.connectors.postgres_slot import SlotInUse
from include.ingestion.connectors.postgres_stream import OutOfStep
from include.lake import Lake, commit_draft, merge_draft, open_draft
from include.orchestration import following
from include.orchestration.following import Follower, publish_window
from include.settings import Settings
from include.spec.source import Source
from include.spec.verdict import Verdict

PASSED = Verdict(True, "0" * 64, 1)


@pytest.fixture
def loaded(shop):
    """The shop with its tables on main."""
    follow(shop)
    return shop


def follow(shop) -> following.Followed:
    return Follower(shop.lake, shop.settings, shop.source, lambda _: None).follow(quiet_s=0)


def follow_and_die(settings: Settings, source: Source) -> None:
    """Follow in a process that is killed when it has merged and has told the database nothing yet."""
    calls = 0

    def deadly(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return confirm(*arguments) if calls == 1 else os.kill(os.getpid(), signal.SIGKILL)

    setattr(following, "confirm", deadly)  # noqa: B010  # a name that the module does not export
    Follower(Lake.connect(settings), settings, source, lambda _: None).follow()


def test_a_follower_killed_between_merge_and_feedback_publishes_nothing_twice(loaded):
    loaded.execute("INSERT INTO orders VALUES (5000, 1, 1.25)")
    before = loaded.position()
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=follow_and_die, args=(loaded.settings, loaded.source))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert loaded.position() != before
    assert loaded.slot()[0] != loaded.position()
    loaded.execute("INSERT INTO orders VALUES (5001, 1, 1.25)")
    assert follow(loaded).rows == 1
    assert loaded.slot() == (loaded.position(), False)
    assert len(loaded.changes("orders")) == 1002
    assert loaded.state("orders") == loaded.table("orders")


def test_what_is_far_behind_is_read_in_bulk_and_what_is_near_by_the_stream(loaded, monkeypatch):
    ways = []

    def publish(*arguments: Any, tail: Any, **options: Any) -> following.Window:
        ways.append("bulk" if tail is None else "stream")
        return publish_window(*arguments, tail=tail, **options)

    monkeypatch.setattr(following, "publish_window", publish)
    monkeypatch.setattr(following, "FAR_BYTES", 100_000)
    loaded.execute("INSERT INTO orders SELECT 10000 + n, 1, n FROM generate_series(1, 2000) n")
    assert follow(loaded).rows == 2000
    assert set(ways) == {"bulk"}
    loaded.execute("INSERT INTO orders VALUES (5000, 1, 1.25)")
    assert follow(loaded).rows == 1
    assert ways[-1] == "stream"
    assert loaded.state("orders") == loaded.table("orders")


def test_a_run_meanwhile_is_told_that_somebody_follows(loaded):
    position = confirm(loaded.lake, loaded.settings, loaded.source)
    assert position is not None
    with tailing(loaded.settings, loaded.source, position) as tail:
        loaded.execute("INSERT INTO orders VALUES (5000, 1, 1.25)")
        assert tail.pending(20)
        head = loaded.lake.head()
        with pytest.raises(SlotInUse, match="somebody follows it"):
            publish_window(loaded.lake, loaded.settings, loaded.source)
        assert loaded.lake.head() == head
        assert retention(loaded.settings, loaded.source).wal_status == "reserved"
        window = publish_window(loaded.lake, loaded.settings, loaded.source, tail=tail)
        assert window.captured.rows == 1
    assert follow(loaded).rows == 0
    assert loaded.slot() == (loaded.position(), False)


def test_a_run_that_was_first_is_not_published_again_by_the_stream(loaded):
    """Its draft was captured before the stream held the slot, and is merged behind that."""
    position = confirm(loaded.lake, loaded.settings, loaded.source)
    assert position is not None
    loaded.execute("INSERT INTO orders VALUES (5000, 1, 1.25)")
    draft = open_draft(loaded.lake, "first", "another")
    assert capture(Desk(loaded.lake, loaded.settings, draft, loaded.source)).rows == 1
    with tailing(loaded.settings, loaded.source, position) as tail:
        assert tail.pending(20)
        commit_draft(loaded.lake, draft, "Capture", {}, PASSED)
        merge_draft(loaded.lake, draft)
        with pytest.raises(SlotInUse):
            confirm(loaded.lake, loaded.settings, loaded.source)
        with pytest.raises(OutOfStep):
            publish_window(loaded.lake, loaded.settings, loaded.source, tail=tail)
        confirm(loaded.lake, loaded.settings, loaded.source, tail)
        with pytest.raises(OutOfStep):
            publish_window(loaded.lake, loaded.settings, loaded.source, tail=tail)
    assert follow(loaded).rows == 0
    assert loaded.slot() == (loaded.position(), False)
    assert len(loaded.changes("orders")) == 1001
