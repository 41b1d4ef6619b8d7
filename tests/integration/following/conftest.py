"""A shop of two captured tables in a database of each test's own, and a lake of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from include.ingestion.capture_feed import held_position
from include.lake import Lake, checkout
from include.lake.objects import list_objects
from include.settings import Settings
from include.spec.source import Source
from include.stack.lake_server import LakeAccess
from include.stack.postgres import PostgresAccess
from include.stack.seaweedfs import S3Access
from tests.integration.following.declared import shop_source

_MADE = """
    CREATE TABLE customers (customer_id int PRIMARY KEY, name text);
    CREATE TABLE orders (
        order_id bigint PRIMARY KEY, customer_id int NOT NULL, amount numeric(10,2) NOT NULL
    );
    CREATE TABLE elsewhere (id int PRIMARY KEY, filler text);
    INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 100) n;
    INSERT INTO orders SELECT n, 1 + n % 100, n FROM generate_series(1, 1000) n;
"""


@dataclass
class Shop:
    """A shop, its declaration, and the lake that its changes go to.

    Args:
        settings: Of both.
        source: The declaration.
        lake: The lake.
        connection: To the database; each statement is a transaction.
        superuser: The same with every right.
    """

    settings: Settings
    source: Source
    lake: Lake
    connection: psycopg.Connection[Any]
    superuser: psycopg.Connection[Any]

    def execute(self, statement: str, parameters: Any = None) -> Any:
        return self.connection.execute(statement, parameters)

    def slot(self) -> tuple[Any, ...] | None:
        """Position that the slot is confirmed to, and whether it is active."""
        assert self.source.capture is not None
        return self.superuser.execute(
            "SELECT confirmed_flush_lsn::text, active FROM pg_replication_slots WHERE slot_name = %s",
            (self.source.capture.slot,),
        ).fetchone()

    def position(self) -> str:
        """Main's position in the log, as PostgreSQL prints it; empty before the first capture."""
        held = held_position(self.lake, self.source, self.lake.head())
        return held.position.value.partition("@")[0] if held else ""

    def files(self, table: str) -> list[str]:
        """Names of a table's files of changes on main, in order."""
        found = list_objects(self.lake, self.lake.head(), f"raw/{self.source.name}/{table}/changes")
        return [one.path.rpartition("/")[2] for one in found if one.path.endswith(".parquet")]

    def changes(self, table: str) -> list[dict[str, Any]]:
        """A table's changes on main, in order of the log."""
        import pyarrow.parquet as pq

        folder = f"raw/{self.source.name}/{table}/changes"
        with checkout(self.lake, self.lake.head(), folder) as held:
            files = sorted(held.path(folder).glob("*.parquet"))
            return [row for file in files for row in pq.read_table(file).to_pylist()]

    def state(self, table: str) -> dict[Any, dict[str, Any]]:
        """The table as its changes on main make it, by key."""
        key = self.source.table(table).key[0]
        rows: dict[Any, dict[str, Any]] = {}
        for change in self.changes(table):
            if change["operation"] == "truncate":
                rows.clear()
                continue
            if change["old"] is not None:
                rows.pop(change["old"][key], None)
            if change["row"] is not None:
                rows[change["row"][key]] = change["row"]
        return rows

    def table(self, table: str) -> dict[Any, dict[str, Any]]:
        """The table as the database has it, by key."""
        declared = self.source.table(table)
        names = [column.name for column in declared.columns]
        rows = self.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()
        return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


@pytest.fixture
def shop(
    postgres: PostgresAccess, seaweedfs: S3Access, lake_server: LakeAccess, tmp_path: Path
) -> Iterator[Shop]:
    name = f"following_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as superuser:
        superuser.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier("retail"))
        )
        settings = Settings(
            home=tmp_path / "home",
            lakefs_endpoint=lake_server.endpoint,
            lakefs_access_key_id=lake_server.access_key_id,
            lakefs_secret_access_key=SecretStr(lake_server.secret_access_key),
            lake_repository=f"lake-{uuid4().hex[:12]}",
            lake_storage_namespace=f"s3://headrace-lake/{uuid4().hex}",
            s3_endpoint=seaweedfs.endpoint,
            s3_access_key_id=seaweedfs.access_key,
            s3_secret_access_key=SecretStr(seaweedfs.secret_key),
            retail_dsn=SecretStr(postgres.dsn("retail", name)),
        )
        settings.home.mkdir(mode=0o700)
        source = shop_source(name)
        try:
            # A prepared statement would not outlive the ALTER TABLEs of the tests.
            with psycopg.connect(
                postgres.dsn("retail", name), autocommit=True, prepare_threshold=None
            ) as connection:
                connection.execute(_MADE)
                yield Shop(settings, source, Lake.prepare(settings), connection, superuser)
        finally:
            superuser.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                "WHERE database = %s AND active",
                (name,),
            )
            superuser.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
                (name,),
            )
            superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def home(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder, for what is told by the environment alone."""
    monkeypatch.setenv("HEADRACE_HOME", str(shop.settings.home))
    return shop.settings.home
