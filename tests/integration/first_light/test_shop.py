"""Filling the shop and the landing bucket: whole, once, and mended when it is not."""

import threading

import psycopg
import pytest
from psycopg import sql

from include.demo import landing, operational
from include.demo.complete_journey import Slice
from include.sources.retail import SOURCE
from tests.integration.first_light.conftest import PART

pytestmark = pytest.mark.integration

TABLES = {table.name for table in SOURCE.tables_of("retail")}


@pytest.fixture
def empty(postgres):
    """A database with nothing in it."""
    from uuid import uuid4

    name = sql.Identifier(stem := f"empty_{uuid4().hex[:12]}")
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER retail").format(name))
    yield postgres.dsn("retail", stem)
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def ask(dsn, query):
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


def counts(dsn):
    return {
        name: ask(dsn, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name)))[0][0]
        for name in TABLES
    }


def test_a_load_is_the_slice_with_keys_types_and_comments(dsn):
    found = counts(dsn)
    assert found["products"] == 92_331
    assert found["campaign_descriptions"] == 27
    assert 10_000 < found["transactions"] < 40_000
    keys = ask(
        dsn,
        "SELECT conrelid::regclass::text, contype::text FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace",
    )
    assert {table for table, kind in keys if kind == "p"} == TABLES
    assert sorted(table for table, kind in keys if kind == "f") == [
        "campaigns",
        "coupon_redemptions",
        "coupons",
    ]
    types = dict(
        ask(
            dsn,
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 'transactions'::regclass AND attnum > 0",
        )
    )
    assert types["sales_value"] == "numeric(10,2)"
    assert types["transaction_timestamp"] == "timestamp without time zone"
    commented = ask(
        dsn, "SELECT relname::text FROM pg_class WHERE obj_description(oid, 'pg_class') IS NOT NULL"
    )
    assert {name for (name,) in commented} >= TABLES


def test_a_second_load_does_nothing_and_says_so(empty):
    first = operational.load(empty, PART)
    second = operational.load(empty, PART)
    assert (first.already, second.already) == (False, True)
    assert dict(first.rows) == dict(second.rows) == counts(empty)


def test_what_changed_since_a_load_is_kept(empty):
    operational.load(empty, PART)
    with psycopg.connect(empty) as connection:
        connection.execute("DELETE FROM demographics")
    assert operational.load(empty, PART).already
    assert counts(empty)["demographics"] == 0


def test_another_slice_replaces_the_load(empty):
    operational.load(empty, PART)
    smaller = operational.load(empty, Slice(households=10, weeks=2))
    assert not smaller.already
    assert ask(empty, "SELECT max(household_id) <= 10 FROM transactions") == [(True,)]


@pytest.mark.parametrize("damage", ["DROP TABLE transactions", "COMMENT ON SCHEMA public IS NULL"])
def test_half_a_load_is_repaired(empty, damage):
    rows = operational.load(empty, PART).rows
    with psycopg.connect(empty) as connection:
        connection.execute(damage)
    repaired = operational.load(empty, PART)
    assert not repaired.already
    assert counts(empty) == dict(rows)


def test_a_load_that_breaks_off_leaves_nothing(empty):
    def break_off(table, _rows):
        if table == "transactions":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        operational.load(empty, PART, break_off)
    assert ask(empty, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert not operational.load(empty, PART).already


def test_two_loads_at_once_load_once(empty):
    done = []
    threads = [
        threading.Thread(target=lambda: done.append(operational.load(empty, PART).already)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False, True]


def test_a_drop_is_repeatable_and_mends_what_is_missing(settings):
    first = landing.drop(settings, PART)
    assert (first.files, first.written, first.rows, first.already) == (2, 2, 741_330, False)
    assert landing.drop(settings, PART).already
    filesystem, folder = landing._bucket(settings)
    filesystem.delete_file(f"{folder}/promotions_2017_week_01.csv.gz")
    again = landing.drop(settings, PART)
    assert (again.files, again.written) == (2, 1)
    more = landing.drop(settings, Slice(weeks=3))
    assert (more.files, more.written) == (3, 1)
