"""A shop on real servers: a small slice of the real data, and a lake of its own for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pyarrow.fs import FileSelector, S3FileSystem
from pydantic import SecretStr

from include.demo import landing, operational
from include.demo.complete_journey import Slice
from include.ingestion.batch import Desk
from include.lake import Lake, open_draft
from include.settings import Settings
from include.sources.retail import SOURCE
from include.stack.lake_server import LakeAccess
from include.stack.postgres import PostgresAccess
from include.stack.seaweedfs import S3Access

PART = Slice(households=30, weeks=2)
BUCKET = "headrace-landing"
LANDING = "headrace-landing/retail/promotions"


@pytest.fixture(scope="session")
def loaded(postgres: PostgresAccess) -> PostgresAccess:
    """PostgreSQL with the slice in its database `retail`."""
    operational.load(postgres.dsn("retail"), PART)
    return postgres


@pytest.fixture
def dsn(loaded: PostgresAccess) -> Iterator[str]:
    """A database of the test's own with the slice in it."""
    name = f"shop_{uuid4().hex[:12]}"
    with psycopg.connect(loaded.dsn(), autocommit=True) as connection:
        names = sql.Identifier(name), sql.Identifier("retail"), sql.Identifier("retail")
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(*names))
    yield loaded.dsn("retail", name)
    with psycopg.connect(loaded.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def settings(dsn: str, seaweedfs: S3Access, lake_server: LakeAccess, tmp_path: Path) -> Settings:
    """Settings of a lake, a shop and an empty landing bucket that no other test uses."""
    return Settings(
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
        retail_dsn=SecretStr(dsn),
    )


@pytest.fixture(scope="session")
def delivered(seaweedfs: S3Access) -> str:
    """A bucket with the promotions of the slice, to be copied: making them of the package takes seconds."""
    bucket = f"delivered-{uuid4().hex[:12]}"
    store = Settings(
        s3_endpoint=seaweedfs.endpoint,
        s3_access_key_id=seaweedfs.access_key,
        s3_secret_access_key=SecretStr(seaweedfs.secret_key),
        landing_bucket=bucket,
    )
    landing.drop(store, PART)
    return bucket


@pytest.fixture
def landed_files(settings: Settings, delivered: str) -> Callable[[], S3FileSystem]:
    """The promotions of the slice in the landing bucket; gives its file system."""
    store = landing.filesystem(settings)
    store.create_dir(settings.landing_bucket)
    for file in store.get_file_info(FileSelector(delivered, recursive=True)):
        if file.is_file:
            store.copy_file(file.path, file.path.replace(delivered, settings.landing_bucket, 1))

    def filesystem() -> S3FileSystem:
        return S3FileSystem(
            access_key=settings.s3_access_key_id,
            secret_key=settings.s3_secret_access_key.get_secret_value(),
            endpoint_override=settings.s3_endpoint,
            region=settings.s3_region,
        )

    return filesystem


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake.prepare(settings)


@pytest.fixture
def desk(lake: Lake, settings: Settings, landed_files: object) -> Callable[..., Desk]:
    """A desk with a fresh draft for a run."""

    def at(run_id: str, source=SOURCE) -> Desk:
        return Desk(lake, settings, open_draft(lake, run_id, f"ingest_batch__{source.name}"), source)

    return at


@pytest.fixture
def shop(dsn: str) -> Callable[[str], None]:
    """Runs SQL on the test's shop and commits."""

    def run(statement: str) -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute(statement)

    return run
