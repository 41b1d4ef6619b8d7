"""The retailer's year on a real PostgreSQL: what is there in the end, on the way, and after a kill."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from typer.testing import CliRunner

from include.cli import app
from include.demo import operational
from include.demo.replay import engine
from include.demo.replay.engine import ReplayError, replay
from include.demo.replay.retail import RetailYear
from tests.integration.replay.conftest import PART, ask, contents

pytestmark = pytest.mark.integration

YEAR = RetailYear(PART)
SPRING = datetime(2017, 4, 1, tzinfo=UTC)


@pytest.fixture
def loaded(new_database):
    """The same households as the batch demo loads them."""
    dsn = new_database()
    operational.load(dsn, PART)
    return contents(dsn, YEAR.tables)


def inserts_and_kinds(changes):
    kinds: Counter[str] = Counter()
    for (data,) in changes:
        word = data.split()[0]
        kinds[word if word in ("BEGIN", "COMMIT") else data.split(": ")[1]] += 1
    return kinds


def test_the_year_ends_with_the_real_rows_and_each_transaction_is_a_commit(live, loaded, postgres):
    replay(live, YEAR, until=datetime(2017, 1, 1))
    with psycopg.connect(postgres.dsn("postgres", live.rsplit("/", 1)[1]), autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('all_of_it', 'test_decoding')")
        done = replay(live, YEAR)
        # Without the empty transactions: the server's own, of its vacuum, are in the log as well.
        changes = connection.execute(
            "SELECT data FROM pg_logical_slot_get_changes('all_of_it', NULL, NULL,"
            " 'include-xids', '0', 'skip-empty-xacts', '1')"
            " WHERE data !~ '^table replay\\.'"
        ).fetchall()
        connection.execute("SELECT pg_drop_replication_slot('all_of_it')")
    assert contents(live, YEAR.tables) == loaded
    assert loaded["transactions"][0] > 1_000
    kinds = inserts_and_kinds(changes)
    assert done.position.finished
    # That the year is over is a commit as well.
    assert kinds["BEGIN"] == kinds["COMMIT"] == done.transactions + 1
    assert kinds["INSERT"] + kinds["UPDATE"] + kinds["DELETE"] == done.rows
    assert min(kinds["UPDATE"], kinds["DELETE"]) > 5
    assert done.transactions == len(list(YEAR.transactions()))


def test_what_is_mistaken_is_put_right_later(live, loaded):
    replay(live, YEAR, until=SPRING)
    on_the_way = contents(live, YEAR.tables)
    differ = {name for name in YEAR.tables if on_the_way[name] != loaded[name]}
    assert differ >= {"transactions", "products", "campaigns", "coupons", "campaign_descriptions"}
    latest = ask(live, "SELECT max(transaction_timestamp) < '2017-04-01' FROM transactions")
    assert latest == [(True,)]
    assert replay(live, YEAR).position.finished
    assert contents(live, YEAR.tables) == loaded


def test_it_goes_on_where_it_was_and_does_nothing_twice(live):
    steps = [replay(live, YEAR, until=SPRING + timedelta(days=days)) for days in (-30, 0, 0, 30)]
    assert [step.transactions > 0 for step in steps] == [True, True, False, True]
    assert steps[-1].position.transactions == sum(step.transactions for step in steps)
    assert ask(live, "SELECT transactions, rows FROM replay.position") == [
        (steps[-1].position.transactions, steps[-1].position.rows)
    ]
    due = SPRING.timestamp() + 30 * 86_400
    assert steps[-1].position.transactions == sum(one.at_us < due * 1e6 for one in YEAR.transactions())


def start(dsn, *options):
    command = [sys.executable, "-c", "from include.cli import app; app()", "replay", "retail", *options]
    environment = {**os.environ, "HEADRACE_RETAIL_LIVE_DSN": dsn}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def applied(dsn):
    with psycopg.connect(dsn) as connection:
        at = engine.position(connection)
    return 0 if at is None else at.transactions


@pytest.mark.faults
def test_killed_again_and_again_it_misses_nothing_and_does_nothing_twice(live, loaded):
    total = len(list(YEAR.transactions()))
    for share in (0.0, 0.2, 0.5, 0.8):
        process = start(live, "--households", str(PART.households), "--speed", "3000000")
        try:
            while applied(live) <= share * total:
                assert process.poll() is None, process.stderr and process.stderr.read().decode()
                time.sleep(0.02)
        finally:
            process.kill()
            process.communicate()
    assert 0.8 * total < applied(live) < total
    done = replay(live, YEAR)
    assert (done.position.transactions, done.position.finished) == (total, True)
    assert contents(live, YEAR.tables) == loaded


def test_another_year_than_the_one_that_is_there_is_refused(live):
    replay(live, YEAR, until=datetime(2017, 1, 5))
    before = contents(live, YEAR.tables)
    with pytest.raises(ReplayError, match=r"seed 1.*seed 2"):
        replay(live, RetailYear(PART, seed=2))
    assert contents(live, YEAR.tables) == before
    again = replay(live, RetailYear(PART, seed=2), until=datetime(2017, 1, 5), again=True)
    assert "seed 2" in again.position.plan
    assert contents(live, YEAR.tables) != before


@pytest.mark.parametrize("again", [False, True])
def test_tables_of_others_are_left_alone(live, again):
    operational.load(live, PART)
    before = contents(live, YEAR.tables)
    with pytest.raises(ReplayError, match="no replay made: campaign"):
        replay(live, YEAR, again=again)
    assert contents(live, YEAR.tables) == before


def test_a_second_replay_at_the_same_time_waits_and_then_says_so(live, monkeypatch):
    monkeypatch.setattr(engine, "_LOCK_WAIT_MS", 200)
    replay(live, YEAR, until=datetime(2017, 1, 1))
    with psycopg.connect(live) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [engine._LOCK])
        with pytest.raises(ReplayError, match="Another replay"):
            replay(live, YEAR)


def test_what_others_changed_stops_it_with_the_place_and_the_reason(live):
    at = replay(live, YEAR, until=SPRING).position
    with psycopg.connect(live) as connection:
        connection.execute("ALTER TABLE transactions DROP COLUMN week")
    with pytest.raises(ReplayError, match=f"{at.transactions}: column .*week.* does not exist"):
        replay(live, YEAR)
    assert applied(live) < at.transactions + engine._BATCH_TRANSACTIONS


def test_with_a_speed_things_happen_when_they_are_due(live):
    start_of = next(iter(YEAR.transactions())).at_us
    until = datetime(2017, 1, 20, tzinfo=UTC)
    last = max(one.at_us for one in YEAR.transactions() if one.at_us < until.timestamp() * 1e6)
    replay(live, YEAR, until=datetime(2017, 1, 1))
    told: list[tuple[str, int]] = []
    began = time.monotonic()
    speed = (last - start_of) / 1e6 / 1.5
    done = replay(live, YEAR, until=until, speed=speed, progress=lambda now, rows: told.append((now, rows)))
    assert time.monotonic() - began >= 1.5
    assert [now for now, _ in told] == sorted(now for now, _ in told)
    assert sum(rows for _, rows in told) == done.rows
    assert len(told) > 10, "each is applied when it is due, and not with the next"


def test_a_reader_beside_it_sees_whole_baskets_only(live):
    replay(live, YEAR, until=datetime(2017, 1, 1))
    lines = {}
    for one in YEAR.transactions():
        if one.statements.startswith('INSERT INTO "transactions"'):
            lines[int(one.statements.split("(")[2].split(",")[2])] = one.rows
    seen: Counter[str] = Counter()
    stop = threading.Event()

    def watch():
        query = "SELECT basket_id, count(*) FROM transactions GROUP BY 1"
        while not stop.is_set():
            for basket, count in ask(live, query):
                seen["part" if count not in (lines[basket], lines[basket] - 1) else "whole"] += 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        replay(live, YEAR, until=SPRING)
    finally:
        stop.set()
        watcher.join()
    assert seen["part"] == 0
    assert seen["whole"] > 0


def test_the_command_replays_a_slice_and_says_how_far_it_came(live, monkeypatch, tmp_path):
    monkeypatch.setenv("HEADRACE_RETAIL_LIVE_DSN", live)
    options = ["--home", str(tmp_path), "--households", str(PART.households)]
    first = CliRunner().invoke(app, ["replay", "retail", *options, "--until", "2017-02-01"])
    assert first.exit_code == 0, first.output
    assert "it is 2017-01-31" in first.output
    rest = CliRunner().invoke(app, ["replay", "retail", *options])
    assert "the year is over" in rest.output
    assert f"after {applied(live):,} transactions" in rest.output
    done = CliRunner().invoke(app, ["replay", "retail", *options])
    assert done.output.startswith("0 transactions, 0 rows")


def test_without_a_database_the_command_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("HEADRACE_RETAIL_LIVE_DSN", raising=False)
    told = CliRunner().invoke(app, ["replay", "retail", "--home", str(tmp_path)])
    assert told.exit_code == 1
    assert "HEADRACE_RETAIL_LIVE_DSN is not set" in told.output
