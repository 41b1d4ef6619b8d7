"""Databases of a test's own on the session's PostgreSQL, and what is in them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from include.demo import flights_files
from include.demo.complete_journey import Slice
from include.settings import Settings
from include.stack.lake_server import LakeAccess
from include.stack.postgres import PostgresAccess
from include.stack.seaweedfs import S3Access

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


@pytest.fixture
def weather() -> Iterator[str]:
    """The address of the API."""
    command = [sys.executable, "-c", "from include.cli import app; app()", "weather", "--port", "0"]
    with subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().removeprefix("weather: ").strip()
        finally:
            server.terminate()


@pytest.fixture
def settings(
    live: str, weather: str, seaweedfs: S3Access, lake_server: LakeAccess, tmp_path: Path
) -> Settings:
    made = Settings(
        home=tmp_path / "home",
        lakefs_endpoint=lake_server.endpoint,
        lakefs_access_key_id=lake_server.access_key_id,
        lakefs_secret_access_key=SecretStr(lake_server.secret_access_key),
        lake_repository=f"lake-{uuid4().hex[:12]}",
        lake_storage_namespace=f"s3://headrace-lake/{uuid4().hex}",
        s3_endpoint=seaweedfs.endpoint,
        s3_access_key_id=seaweedfs.access_key,
        s3_secret_access_key=SecretStr(seaweedfs.secret_key),
        landing_bucket=f"landing-{uuid4().hex[:12]}",
        flights_dsn=SecretStr(live),
        weather_url=weather,
    )
    flights_files.drop(made)
    return made


def ask(dsn: str, query: str) -> list[tuple]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def contents(dsn: str, tables: tuple[str, ...]) -> dict[str, tuple[int, str]]:
    """Rows and a hash over all of them, by table."""
    query = "SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {} t"
    return {name: ask(dsn, query.format(name))[0] for name in tables}
