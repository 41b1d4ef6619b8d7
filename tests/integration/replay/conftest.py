"""Databases of a test's own on the session's PostgreSQL, and what is in them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from include.demo.complete_journey import Slice
from include.stack.postgres import PostgresAccess

PART = Slice(households=12)


@pytest.fixture
def new_database(postgres: PostgresAccess) -> Iterator[Callable[[], str]]:
    """Makes an empty database; gives its address."""
    with ExitStack() as after, psycopg.connect(postgres.dsn(), autocommit=True) as connection:

        def make() -> str:
            name = f"live_{uuid4().hex[:12]}"
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER retail_live").format(sql.Identifier(name)))
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            after.callback(connection.execute, drop)
            return postgres.dsn("retail_live", name)

        yield make
        after.close()


@pytest.fixture
def live(new_database: Callable[[], str]) -> str:
    """The address of an empty database."""
    return new_database()


def ask(dsn: str, query: str) -> list[tuple]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def contents(dsn: str, tables: tuple[str, ...]) -> dict[str, tuple[int, str]]:
    """Rows and a hash over all of them, by table."""
    query = "SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {} t"
    return {name: ask(dsn, query.format(name))[0] for name in tables}
