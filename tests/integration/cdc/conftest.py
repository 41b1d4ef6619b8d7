"""A database of each test's own on the session's PostgreSQL, and what reads its changes."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql
from pydantic import SecretStr

from include.ingestion.connectors.postgres_cdc import read_window
from include.ingestion.connectors.postgres_slot import (
    Feed,
    create_publication,
    create_slot,
    drop_slot,
)
from include.ingestion.pgoutput import ChangeBatch, Decoded, LogPosition, TableShape
from include.lake import Lake
from include.settings import Settings
from include.stack.lake_server import LakeAccess
from include.stack.postgres import PostgresAccess
from tests.integration.cdc.capturing import DDL, Shop
from tests.integration.cdc.ruled import RULED


@dataclass
class Source:
    """A database, its feed, and how far the test has read it."""

    feed: Feed
    superuser_dsn: str
    connection: psycopg.Connection[Any]
    at: LogPosition | None = None
    shapes: tuple[TableShape, ...] = field(default=())

    def execute(self, statement: str, parameters: Any = None) -> Any:
        return self.connection.execute(statement, parameters)

    def publish(self, *tables: str) -> None:
        """Publish tables of the schema public and make the slot, without reading its snapshot."""
        create_publication(self.feed, [("public", table) for table in tables])
        self.begin()

    def begin(self) -> None:
        with create_slot(self.feed) as slot:
            self.at = slot.position

    def read(self, **options: Any) -> list[Decoded]:
        """Everything that was committed since the last read; moves on, but not the slot."""
        assert self.at is not None
        window = read_window(self.feed, self.at, known=self.shapes, **options)
        decoded = list(window)
        self.at, self.shapes = window.position, window.shapes
        return decoded

    def changes(self, table: str | None = None, **options: Any) -> list[dict[str, Any]]:
        """The changes of `read` as dictionaries, of one table or of all, in order of the log."""
        return rows(batch for part in self.read(**options) for batch in part.changes if of(batch, table))


def of(batch: ChangeBatch, table: str | None) -> bool:
    return table is None or batch.shape.table == table


def rows(batches: Any) -> list[dict[str, Any]]:
    return [
        row | {"table": batch.shape.table, "special": dict(row["special"])}
        for batch in batches
        for row in pa.Table.from_batches([batch.data]).to_pylist()
    ]


@pytest.fixture
def source(postgres: PostgresAccess) -> Iterator[Source]:
    name = f"cdc_{uuid4().hex[:12]}"
    role = "retail"
    with psycopg.connect(postgres.dsn(), autocommit=True) as server:
        server.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(role))
        )
        feed = Feed(postgres.dsn(role, name), name, 'changes of "all"', f"slot_{name}")
        try:
            # A prepared statement would not outlive the ALTER TABLEs of the tests.
            with psycopg.connect(feed.dsn, autocommit=True, prepare_threshold=None) as connection:
                yield Source(feed, postgres.dsn(database=name), connection)
            drop_slot(replace(feed))
        finally:
            server.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
                (name,),
            )
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def shop(source: Source, lake_settings: Settings) -> Iterator[Shop]:
    """A shop in the test's own database, and a lake of its own."""
    for statement in DDL:
        source.execute(statement)
    settings = lake_settings.model_copy(update={"retail_dsn": SecretStr(source.feed.dsn)})
    lake = Lake.prepare(settings)
    yield Shop(source.connection, lake, settings)
    lake.api.repositories_api.delete_repository(lake.repository, force=True)


@pytest.fixture
def ruled(shop: Shop) -> Shop:
    """Customers with an age, and a rule about it; captured from their first row on."""
    shop.execute("ALTER TABLE customers ADD age int")
    shop.execute("INSERT INTO customers VALUES (0, 'zero', 'x', 1)")
    shop.declare(RULED)
    shop.run()
    return shop


@pytest.fixture
def lake_settings(lake_server_local: LakeAccess, tmp_path: Path) -> Settings:
    """Settings of a lake of the test's own."""
    return Settings(
        home=tmp_path / "home",
        lakefs_endpoint=lake_server_local.endpoint,
        lakefs_access_key_id=lake_server_local.access_key_id,
        lakefs_secret_access_key=SecretStr(lake_server_local.secret_access_key),
        lake_repository=f"lake-{uuid4().hex[:12]}",
        lake_storage_namespace=f"local://lake/{uuid4().hex}",
    )


@pytest.fixture
def another_lake(lake_settings: Settings) -> Iterator[Lake]:
    """A second lake on the same server."""
    lake = Lake.prepare(
        lake_settings.model_copy(
            update={
                "lake_repository": f"lake-{uuid4().hex[:12]}",
                "lake_storage_namespace": f"local://lake/{uuid4().hex}",
            }
        )
    )
    yield lake
    lake.api.repositories_api.delete_repository(lake.repository, force=True)
